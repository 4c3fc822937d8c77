"""One metric a route, from a template: `$route`, `$method` and `$path` in its query. Pure.

Routes come from the settings and never from a spec, so that no text from outside gets into a query; what they may be
made of needs no escaping in any query language.
"""

import re
from collections.abc import Iterable, Iterator

from tools.metrics.catalogue import BadDefinition, MetricDefinition

ROUTE = re.compile(r"(GET|PUT|POST|DELETE|OPTIONS|HEAD|PATCH|TRACE) (/[A-Za-z0-9_./{}~-]{0,200})")
_PLACEHOLDER = re.compile(r"\$(route|method|path)\b")
_NO_NAME = re.compile(r"[^a-z0-9]+")
_PARAMETER = re.compile(r"\{[^{}/]*\}")
LONGEST_TITLE = 120


def each_route(definitions: Iterable[MetricDefinition]) -> Iterator[MetricDefinition]:
    """The definitions, templates among them as one metric a route. Raises BadDefinition."""
    for definition in definitions:
        if definition.routes:
            yield from _expanded(definition)
        else:
            yield definition


def same_route(one: str, other: str) -> bool:
    """Whether both are one route, whatever its parameters are called: /cart/{id} and /cart/{cart}."""
    return _PARAMETER.sub("{}", one) == _PARAMETER.sub("{}", other)


def _expanded(template: MetricDefinition) -> Iterator[MetricDefinition]:
    query, unit_query = template.query, template.unit_query
    texts = [query] if isinstance(query, str) else list(query.values())
    if not any(_PLACEHOLDER.search(text) for text in texts):
        message = f"The query of the metric {template.name!r} has routes, so it must name $route, or $method and $path."
        raise BadDefinition(message, metric=template.name, field="query")
    seen = set[str]()
    for route in template.routes:
        known = ROUTE.fullmatch(route)
        if known is None:
            message = f"A route of the metric {template.name!r} is written like POST /checkout or GET /cart/{{id}}."
            raise BadDefinition(message, metric=template.name, field="routes")
        name = f"{template.name}.{_NO_NAME.sub('_', route.lower()).strip('_')}"[:80]
        if name in seen:
            message = f"Two routes of the metric {template.name!r} can't be told apart by their names; leave one out."
            raise BadDefinition(message, metric=template.name, field="routes")
        seen.add(name)
        values = {"route": route, "method": known[1], "path": known[2]}
        yield template.model_copy(
            update={
                "name": name,
                "title": f"{template.title} ({route})"[:LONGEST_TITLE],
                "query": _filled(query, values)
                if isinstance(query, str)
                else {key: _filled(text, values) for key, text in query.items()},
                "unit_query": None if unit_query is None else _filled(unit_query, values),
                "route": route,
                "routes": (),
            }
        )


def _filled(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
