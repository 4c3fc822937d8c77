"""What slash commands answer with: the list, the status, the history and the reasons."""

from collections.abc import Sequence

from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import guardrails, parts
from bot.blocks.card import DRIFT_CHARACTERS, MOST_MIXES, card, not_started
from bot.blocks.lines import line
from bot.blocks.mrkdwn import escape, moment_of, name
from bot.blocks.plan import plan_blocks
from tools.records.log import Event
from tools.rollouts.events import Happening
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import RolloutView

MOST_LISTED = 20
MOST_EVENTS = 20
MOST_GUARDRAILS = 20


def list_blocks(views: Sequence[RolloutView], *, most: int = MOST_LISTED) -> list[Block]:
    """Every open rollout in a line, at most `most`."""
    if not views:
        return [parts.section(texts.NO_ROLLOUTS)]
    blocks = [parts.section(texts.LIST_TITLE.format(count=len(views)))]
    blocks += [parts.section(listed(view)) for view in views[:most]]
    if len(views) > most:
        blocks.append(parts.context(texts.LIST_MORE.format(count=len(views) - most)))
    return parts.message(blocks)


def status_blocks(
    view: RolloutView, decisions: Sequence[Event], link: str | None, shared: str | None = None
) -> list[Block]:
    """The card without its buttons, the plan, the way to the card, and the address to share."""
    blocks = card(view, decisions, buttons=False)
    if view.phase is not Phase.PROPOSED:
        blocks += plan_blocks(view.plan)
    if link is not None:
        blocks.append(parts.context(card_link(link).strip()))
    if shared is not None:
        blocks.append(parts.context(texts.SHARE.format(url=f"<{shared}>")))
    return parts.message(blocks)


def history_blocks(view: RolloutView, events: Sequence[Event]) -> list[Block]:
    """What happened, the newest last."""
    title = texts.HISTORY_TITLE.format(**_names(view))
    if not events:
        return [parts.section(title, texts.HISTORY_EMPTY)]
    return parts.message([parts.section(title), *(parts.context(_told(event)) for event in events[-MOST_EVENTS:])])


def why_blocks(view: RolloutView) -> list[Block]:
    """What the rollout waits for, and each guardrail's judgement in full."""
    blocks = [parts.section(texts.WHY_TITLE.format(**_names(view)), texts.WHY[view.phase].format(**_names(view)))]
    if view.approval is not None:
        blocks.append(parts.context(texts.APPROVAL_WHY.format(why=escape(view.approval.why))))
    if view.pause_reason is not None and view.phase is Phase.PAUSED:
        ends = escape(view.pause_ends or texts.NOT_SAID, 300)
        blocks.append(parts.section(texts.PAUSED_BECAUSE.format(reason=escape(view.pause_reason), ends=ends)))
    if view.rollback_reason is not None:
        blocks.append(parts.section(texts.ROLLBACK_BECAUSE.format(reason=escape(view.rollback_reason))))
    if view.phase in LIVE:
        blocks += _waiting(view)
    return parts.message(blocks)


def listed(view: RolloutView) -> str:
    """A rollout in one line: its phase, its stage and who gets what."""
    glyph, phase = texts.PHASES[view.phase]
    where = ""
    if view.stage is not None:
        where = ", " + texts.STAGE_OF.format(number=view.stage + 1, total=len(view.plan.stages))
    exposure = not_started(view) if view.exposure is None else escape(view.exposure, 80)
    return texts.LIST_LINE.format(glyph=glyph, phase=phase.lower(), where=where, exposure=exposure, **_names(view))


def card_link(url: str | None) -> str:
    """The way to the card at the end of a sentence; nothing when there is none yet."""
    return texts.CARD_LINK.format(url=url) if url else ""


def _told(event: Event) -> str:
    told = line(Happening(event.kind), event.actor, event.payload)
    return texts.HISTORY_LINE.format(at=moment_of(event.at), line=told)


def _waiting(view: RolloutView) -> list[Block]:
    blocks = []
    stage, times = view.stage_in_force, []
    if stage is not None and view.stage_since is not None:
        times.append(texts.WHY_BAKING.format(until=moment_of(view.stage_since + stage.bake)))
    if stage is not None and view.limit_from is not None and view.phase is Phase.PROGRESSING:
        times.append(texts.WHY_LIMIT.format(until=moment_of(view.limit_from + stage.time_limit)))
    if times:
        blocks.append(parts.context(*times))
    if view.check is None:
        return [*blocks, parts.section(texts.WHY_NO_CHECK)]
    judged = view.check.guardrails[:MOST_GUARDRAILS]
    blocks += [
        parts.section(guardrails.judgement(guardrail, verdict), escape(verdict.why)) for guardrail, verdict, _ in judged
    ]
    said = [escape(one.why, DRIFT_CHARACTERS) for one in view.check.mixes[:MOST_MIXES]]
    return [*blocks, *([parts.context(*said)] if said else [])]


def _names(view: RolloutView) -> dict[str, str]:
    return {"flag": name(view.flag), "environment": name(view.environment)}
