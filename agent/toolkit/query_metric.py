"""query_metric: a metric of the catalogue, by variant. The query's text is the catalogue's, never the model's."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, MetricName, subject
from agent.toolkit.wording import listed, rate
from tools.clock import in_words
from tools.metrics.base import MetricQuery, Reading, Window

LONGEST_MINUTES = 14 * 24 * 60


class AboutMetric(AboutFlag):
    """Which metric, over how long."""

    metric: MetricName
    minutes: Annotated[
        float, Field(gt=0, le=LONGEST_MINUTES, allow_inf_nan=False, description="how far back to look, in minutes")
    ] = 30


async def run(context: Context, arguments: AboutMetric) -> Result:
    """The metric per variant. Raises WhichFlag, UnknownMetric, MetricSourceUnavailable, BadMetricAnswer."""
    ref, desk = subject(context, arguments), context.desk
    desk.metrics.catalogue.get(arguments.metric)
    # A flag that there is not has no numbers; the flag service says so better than an empty answer does.
    await desk.flags.read(ref)
    end = desk.clock.now() - desk.metrics.define(arguments.metric).settle
    window = Window(end - timedelta(minutes=arguments.minutes), end)
    reading = await desk.metrics.read(MetricQuery(arguments.metric, ref.flag, ref.environment, window))
    span = in_words(window.end - window.start)
    lines = [f"{arguments.metric} of {ref.flag} in {ref.environment}, last {span}:", *_variants(reading)]
    if reading.newest is not None:
        lines.append(f"Newest data {in_words(desk.clock.now() - reading.newest)} old.")
    return Result(said=listed(lines))


def _variants(reading: Reading) -> list[str]:
    found = sorted(reading.by_variant.items(), key=lambda item: item[0] or "")
    return [f"{variant or 'no variant'}: {rate(sample.events, sample.exposures)}" for variant, sample in found] or [
        "No data: the query answered nothing."
    ]


TOOL = Tool(
    name="query_metric",
    description="The numbers of one metric over the last minutes, per variant.",
    title="Asking for a metric",
    effect=Effect.READ,
    arguments=AboutMetric,
    run=run,
)
