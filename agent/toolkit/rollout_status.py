"""rollout_status: how a rollout stands, and what the newest check saw."""

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, rollout_of, subject
from agent.toolkit.wording import guardrail_line, listed, overrides, plan_lines, standing, waiting
from tools.clock import written
from tools.rollouts.store import RolloutNotFound


async def run(context: Context, arguments: AboutFlag) -> Result:
    """Where it is, what it waits for, each guardrail. Raises WhichFlag, FlagNotFound."""
    try:
        view = await rollout_of(context, arguments)
    except RolloutNotFound as missing:
        state = await context.desk.flags.read(subject(context, arguments))
        return Result(said=f"{missing} {state.ref.flag} serves {state.exposure} in {state.ref.environment}.")
    check = view.check
    rails = [guardrail_line(rail, verdict) for rail, verdict, _ in check.guardrails] if check is not None else []
    rails += [one.why for one in check.mixes] if check is not None else []
    since = f"Checked {written(check.at, seconds=True)}." if check is not None else ""
    data = {"plan": plan_lines(view.plan), "plan_version": view.plan_version, "requested_by": view.requester}
    lines = [standing(view), waiting(view), *overrides(view), *rails, since]
    return Result(said=listed(lines), data=data, rollout_id=view.id)


TOOL = Tool(
    name="rollout_status",
    description="How a flag's rollout is doing: phase, stage, percentage, each metric's newest verdict.",
    title="Looking at the rollout",
    effect=Effect.READ,
    arguments=AboutFlag,
    run=run,
)
