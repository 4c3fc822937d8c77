"""read_spec: what the people who build the feature wrote about it."""

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, subject
from tools.specs.base import Spec, read_again, wholly
from tools.specs.snapshots import keep_read

LONGEST_BODY = 5000


async def run(context: Context, arguments: AboutFlag) -> Result:
    """The spec of a flag, from where its plan has it; what was read is kept, and named by its hash.

    Raises WhichFlag, SpecNotFound, InvalidSpec, SpecSourceUnavailable.
    """
    ref, desk = subject(context, arguments), context.desk
    view = await desk.find_or_none(ref.flag, ref.environment)
    known = view.spec.source if view is not None and view.ended_at is None and view.spec is not None else ""
    spec = wholly(await read_again(desk.specs, ref.flag, known))
    await keep_read(desk.database, spec, at=desk.clock.now())
    data = {
        "title": spec.title,
        "owner": spec.owner,
        "tags": spec.tags,
        "guards": [f"{kpi.metric} ({kpi.direction.value})" for kpi in spec.kpis],
        "depends_on": spec.depends_on,
        "regions": spec.regions,
        "tenants": spec.tenants,
        "text_written_by_people": spec.body[:LONGEST_BODY],
        "sha256": spec.sha256,
    }
    return Result(said=_said(spec), data={key: value for key, value in data.items() if value})


def _said(spec: Spec) -> str:
    parts = [f"The spec of {spec.flag}: {spec.title}."]
    if spec.owner:
        parts.append(f"Owner: {spec.owner}.")
    if spec.tags:
        parts.append(f"Tags: {', '.join(spec.tags)}.")
    if spec.kpis:
        parts.append(f"It guards {', '.join(kpi.metric for kpi in spec.kpis)}.")
    if spec.depends_on:
        parts.append(f"It depends on {', '.join(spec.depends_on)}.")
    if spec.regions or spec.tenants:
        parts.append(f"It is limited to {', '.join((*spec.tenants, *spec.regions))}.")
    return " ".join(parts)


TOOL = Tool(
    name="read_spec",
    description="The feature's spec: what it changes, who owns it, risk tags, metrics, tenants, regions, dependencies.",
    title="Reading the spec",
    effect=Effect.READ,
    arguments=AboutFlag,
    run=run,
)
