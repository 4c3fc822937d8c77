"""history: what was decided, by whom and why."""

from agent.toolkit.base import Context, Effect, Result, Tool
from agent.toolkit.subject import AboutFlag, rollout_of
from agent.toolkit.wording import listed, standing
from tools.clock import written
from tools.records import log
from tools.records.log import Event

MOST = 20
SHOWN = ("reason", "why", "before", "after", "exposure", "answer", "version", "target", "error", "ends")


async def run(context: Context, arguments: AboutFlag) -> Result:
    """The newest events of a rollout, the newest last. Raises WhichFlag, RolloutNotFound."""
    view = await rollout_of(context, arguments)
    async with context.desk.database.read() as session:
        events = await log.newest(session, view.id, limit=MOST)
    lines = [_line(event) for event in events]
    return Result(said=listed([standing(view), *lines]), rollout_id=view.id)


def _line(event: Event) -> str:
    facts = ", ".join(f"{name}: {event.payload[name]}" for name in SHOWN if event.payload.get(name) is not None)
    return f"{written(event.at, seconds=True)} {event.kind} by {event.actor}" + (f" ({facts})" if facts else "")


TOOL = Tool(
    name="history",
    description="What was decided when, by whom and why; who approved.",
    title="Reading the decision log",
    effect=Effect.READ,
    arguments=AboutFlag,
    run=run,
)
