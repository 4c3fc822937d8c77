"""A metric definition, changed where a test says so."""

from typing import Any

from tools.metrics.catalogue import MetricDefinition

QUERY = "SELECT variant, n AS exposures, e AS events FROM t WHERE at >= :start AND at < :end"


def definition(**changes: Any) -> MetricDefinition:
    """The metric `checkout_errors` of the source `shop`."""
    plain = {"name": "checkout_errors", "source": "shop", "title": "Checkout errors", "query": QUERY}
    return MetricDefinition.model_validate(plain | changes)
