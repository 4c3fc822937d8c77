"""The living card: one message a rollout, edited in place: where it stands, and buttons for what can be done now."""

from collections.abc import Sequence
from dataclasses import dataclass

from slack_sdk.models.blocks import Block, ButtonElement

from bot import texts
from bot.blocks import guardrails, parts
from bot.blocks.accepting import accepted_lines, overriding
from bot.blocks.freezing import notice
from bot.blocks.lines import line
from bot.blocks.moments import rewritten
from bot.blocks.mrkdwn import clock_time, escape, fitted, moment_of, name, person, plain
from bot.blocks.plan import plan_blocks
from tools.gates import Harm
from tools.plans.model import Exposure, Mode
from tools.records.log import Event
from tools.rollouts.approvals import Purpose
from tools.rollouts.events import Happening
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.staleness import SpecView
from tools.rollouts.views import ApprovalView, CheckView, RolloutView

EXPOSURE_CELLS = 20
MOST_GUARDRAILS = 6
MOST_DECISIONS = 4
MOST_APPROVERS = 10
DECISION_CHARACTERS = 300
TRAIL_CHARACTERS = 60
OUTLOOK_CHARACTERS = 300
DRIFT_CHARACTERS = 400
MOST_MIXES = 3
SPEC_CHARACTERS, SOURCE_CHARACTERS = 400, 300

TAKEN_BACK = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})

APPROVE, REJECT, START = "rollout.approve", "rollout.reject", "rollout.start"
EDIT = "rollout.edit"
PLAN_ANEW, KEEP_PLAN = "rollout.plan_anew", "rollout.keep_plan"
CANCEL = "rollout.cancel"
PROMOTE, PAUSE, RESUME, ROLL_BACK = "rollout.promote", "rollout.pause", "rollout.resume", "rollout.roll_back"

DECIDING = (
    Happening.PLAN_PROPOSED,
    Happening.PLAN_REVISED,
    Happening.CANCELLED,
    Happening.STARTED,
    Happening.PROMOTED,
    Happening.PAUSED,
    Happening.RESUMED,
    Happening.EXPOSURE_LOWERED,
    Happening.SUCCEEDED,
    Happening.ROLLBACK_STARTED,
    Happening.ROLLED_BACK,
    Happening.KILL_ORDERED,
    Happening.APPROVAL_VOTED,
    Happening.APPROVAL_REJECTED,
    Happening.APPROVAL_EXPIRED,
    Happening.CHANGED_BY_HAND,
    Happening.SPEC_CHANGED,
    Happening.SPEC_ACCEPTED,
    Happening.FREEZE_HOLDS,
    Happening.ACCEPTANCE_GIVEN,
    Happening.ACCEPTANCE_WITHDRAWN,
)
"""What the card tells of the past: who decided what, and when."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart that was uploaded to Slack, and what it shows in words."""

    file_id: str
    says: str


def card(
    view: RolloutView,
    decisions: Sequence[Event] = (),
    *,
    outlook: str | None = None,
    picture: Picture | None = None,
    approved: Sequence[Event] = (),
    buttons: bool = True,
) -> list[Block]:
    """The card's blocks. `decisions` are log events of this rollout, oldest first; the newest few are shown.

    `outlook` says when the gate should have its verdict; `approved` are the log's granted approvals, oldest first.
    """
    blocks = [parts.header(title(view)), parts.section(_phase(view), *_served(view))]
    if view.stage is not None and view.phase in LIVE:
        blocks.append(parts.context(_trail(view)))
    if outlook is not None and view.phase is Phase.PROGRESSING:
        blocks.append(parts.context(texts.OUTLOOK.format(outlook=escape(outlook, OUTLOOK_CHARACTERS))))
    blocks += _what_matters(view, decisions)
    if view.phase is Phase.PROPOSED:
        blocks += plan_blocks(view.plan)
        if view.backtest is not None:
            blocks.append(parts.context(texts.PLAN_BACKTEST.format(summary=escape(view.backtest.summary, 600))))
    if view.check is not None and view.phase in LIVE | TAKEN_BACK:
        blocks += _guardrails(view, view.check)
    if picture is not None:
        blocks.append(parts.picture(picture.file_id, picture.says))
    if decisions:
        blocks.append(parts.divider())
        blocks.append(
            parts.context(texts.DECISIONS, *map(_decision, decisions[-MOST_DECISIONS:]), _approved(view, approved))
        )
    if buttons and (row := allowed_buttons(view)):
        blocks.append(parts.actions(*row))
    blocks.append(parts.context(_footer(view)))
    return parts.message(blocks)


def title(view: RolloutView) -> str:
    """The flag and its environment, as plain text."""
    return texts.CARD_TITLE.format(flag=plain(view.flag, 100), environment=plain(view.environment, 40))


def summary(view: RolloutView) -> str:
    """The card in one line of mrkdwn, for notifications and for readers without blocks."""
    served = "" if view.exposure is None else f" · {escape(view.exposure, 80)}"
    return f"{escape(title(view), 150)}: {_phase(view)}{served}"


def allowed_buttons(view: RolloutView) -> list[ButtonElement]:
    """The buttons of this state, and no others: in a freeze none that raises exposure.

    A button's value is the id of the approval or of the rollout.
    """
    asked = answers(view, view.approval) if view.approval is not None else []
    roll_back = parts.button(
        texts.ROLL_BACK, ROLL_BACK, view.id, style="danger", confirm=_filled(texts.CONFIRM_ROLL_BACK, view)
    )
    edit = parts.button(texts.EDIT_PLAN, EDIT, view.id)
    pause = parts.button(texts.PAUSE, PAUSE, view.id)
    drop = parts.button(texts.CANCEL_PLAN, CANCEL, view.id, confirm=_filled(texts.CONFIRM_CANCEL, view))
    match view.phase:
        case Phase.PROPOSED if view.spec is not None and view.spec.stale:
            anew = parts.button(texts.PLAN_ANEW, PLAN_ANEW, view.id, style="primary")
            stands = parts.button(texts.KEEP_PLAN, KEEP_PLAN, view.id, confirm=_filled(texts.CONFIRM_KEEP_PLAN, view))
            return [anew, stands, edit, drop]
        case Phase.PROPOSED:
            start = [] if view.frozen is not None else [parts.button(texts.START, START, view.id, style="primary")]
            return [*(asked or start), edit, drop]
        case Phase.PROGRESSING:
            promote = parts.button(texts.PROMOTE, PROMOTE, view.id, confirm=_filled(texts.CONFIRM_PROMOTE, view))
            # What is still being set can't be promoted: the door refuses it.
            held = _at_the_end(view) or view.frozen is not None or view.stage_since is None
            first = [pause] if held else [promote, pause]
            return [*first, *overriding(view), edit, roll_back]
        case Phase.WAITING_PROMOTION:
            return [*asked, pause, *overriding(view), edit, roll_back]
        case Phase.PAUSED:
            resume = parts.button(
                texts.RESUME, RESUME, view.id, style="primary", confirm=_filled(_resuming(view), view)
            )
            first = [] if view.frozen is not None and not _stays(view) else [resume]
            return [*first, *overriding(view), edit, roll_back]
        case _:
            return []


def answers(view: RolloutView, approval: ApprovalView) -> list[ButtonElement]:
    """The buttons by which people answer it. In a freeze nobody can say yes but to the end, which raises nothing."""
    reject = parts.button(texts.REJECT, REJECT, approval.id)
    if view.frozen is not None and approval.to_stage < len(view.plan.stages):
        return [reject]
    return [parts.button(texts.APPROVE, APPROVE, approval.id, style="primary"), reject]


def _resuming(view: RolloutView) -> parts.Dialog:
    """What is asked before it goes on: whether that changes what is served."""
    return texts.CONFIRM_RESUME if _stays(view) else texts.CONFIRM_RESUME_ELSEWHERE


def _stays(view: RolloutView) -> bool:
    """Whether what is served is what the stage in force serves."""
    return view.exposure == _stage_exposure(view, view.stage or 0)


def _filled(dialog: parts.Dialog, view: RolloutView) -> parts.Dialog:
    facts = {
        "flag": view.flag,
        "environment": view.environment,
        "reason": view.pause_reason or texts.NOT_SAID,
        "before": str(view.exposure),
        "after": str(_stage_exposure(view, view.stage or 0, 1) if not _at_the_end(view) else view.exposure),
    }
    if view.phase is Phase.PAUSED and dialog is not texts.CONFIRM_ROLL_BACK:
        facts["after"] = str(_stage_exposure(view, view.stage or 0))
    if dialog is texts.CONFIRM_KEEP_PLAN and view.spec is not None:
        facts["reason"] = view.spec.why
    if dialog is texts.CONFIRM_ROLL_BACK:
        facts["after"] = str(view.known_good)
    facts["reason"] = rewritten(facts["reason"], lambda *_: texts.TIME_ON_THE_CARD)
    shown = {name: plain(value, 200 if name == "reason" else 80) for name, value in facts.items()}
    title_, text, yes, no = dialog
    return title_, text.format(**shown), yes, no


def _at_the_end(view: RolloutView) -> bool:
    return view.stage is None or view.stage + 1 >= len(view.plan.stages)


def _stage_exposure(view: RolloutView, stage: int, ahead: int = 0) -> Exposure:
    return view.plan.stages[min(stage + ahead, len(view.plan.stages) - 1)].exposure


def _phase(view: RolloutView) -> str:
    glyph, said = texts.PHASES[view.phase]
    where = ""
    if view.stage is not None and view.phase in LIVE:
        where = " · " + texts.STAGE_OF.format(number=view.stage + 1, total=len(view.plan.stages))
    return f"{glyph} *{said}*{where}"


def _served(view: RolloutView) -> list[str]:
    lines = [_exposure(view)]
    if view.setting is not None:
        sentence = texts.BEING_SET if view.error is None else texts.BEING_SET_TROUBLE
        lines.append(sentence.format(exposure=escape(view.setting, 80), error=escape(view.error or "", 300)))
    if view.verify_until is not None and view.phase is Phase.ROLLING_BACK:
        lines.append(texts.VERIFYING_UNTIL.format(until=clock_time(view.verify_until)))
    return lines


def _exposure(view: RolloutView) -> str:
    if view.exposure is None:
        return not_started(view)
    exposure, audience = view.exposure, view.exposure.audience
    named = audience.tenants + audience.regions
    sentence = texts.SERVED_LIVE if exposure.mode is Mode.LIVE else texts.SERVED_SHADOW
    return f"{guardrails.bar(exposure.percent / 100, EXPOSURE_CELLS)}   " + sentence.format(
        percent=texts.percentage(exposure.percent),
        audience=texts.EVERYONE + (f" of {escape(', '.join(named), 120)}" if named else ""),
        treatment=name(view.plan.treatment),
        control=name(view.plan.control),
    )


def not_started(view: RolloutView) -> str:
    """That the rollout has changed nothing, and what is served all the same, as far as that is known.

    While people are asked the flag is looked at again and again; later it is only known what they were told.
    """
    if view.approval is not None and view.approval.served is not None:
        return texts.NOT_STARTED_SERVED.format(exposure=escape(view.approval.served, 80))
    said = texts.NEVER_STARTED if view.phase is Phase.CANCELLED else texts.NOT_STARTED
    found = "" if view.found is None else texts.SERVED_WHEN_ASKED.format(exposure=escape(view.found, 80))
    return said + found


def _trail(view: RolloutView) -> str:
    """What was before, and every stage in a row: done, in force, to come."""
    steps = (
        []
        if view.known_good is None
        else [texts.TRAIL_BEFORE.format(exposure=escape(view.known_good, TRAIL_CHARACTERS))]
    )
    for number, stage in enumerate(view.plan.stages):
        shown = escape(stage.exposure, TRAIL_CHARACTERS)
        done, present = number < (view.stage or 0), number == view.stage
        steps.append(f"✔ {shown}" if done else f"● *{shown}*" if present else f"○ {shown}")
    return "   ›   ".join(steps)


def _what_matters(view: RolloutView, decisions: Sequence[Event]) -> list[Block]:
    """What people must know or decide now."""
    blocks = []
    if view.frozen is not None and view.phase in LIVE | {Phase.PROPOSED}:
        blocks.append(parts.section(notice(view.frozen)))
    if view.spec is not None and view.phase in LIVE | {Phase.PROPOSED}:
        blocks += _spec(view, view.spec)
    if view.approval is not None:
        blocks.append(parts.section(*_question(view, view.approval)))
    if view.phase is Phase.PAUSED:
        reason = escape(view.pause_reason or texts.NOT_SAID)
        ends = escape(view.pause_ends or texts.NOT_SAID, 300)
        blocks.append(parts.section(texts.PAUSED_BECAUSE.format(reason=reason, ends=ends)))
    if view.phase in TAKEN_BACK:
        blocks.append(parts.section(*_rollback(view, decisions)))
    if view.blind_since is not None and view.phase in LIVE:
        since, deadline = clock_time(view.blind_since), clock_time(view.blind_since + view.plan.blind_budget)
        blocks.append(parts.section(texts.BLIND_SINCE.format(since=since, deadline=deadline)))
    return blocks


def _spec(view: RolloutView, spec: SpecView) -> list[Block]:
    """What people must know of the spec; before the start also where it is."""
    source, why = escape(spec.source, SOURCE_CHARACTERS), escape(spec.why, SPEC_CHARACTERS)
    if spec.stale:
        sentence = texts.SPEC_STALE_PROPOSED if view.phase is Phase.PROPOSED else texts.SPEC_STALE_LIVE
        return [parts.section(sentence.format(why=why, source=source))]
    if spec.stands is not None:
        return [parts.context(texts.SPEC_STANDS.format(why=why, source=source, actor=person(spec.stands)))]
    if view.phase is Phase.PROPOSED and spec.read_at is not None:
        return [parts.context(texts.SPEC_READ.format(source=source, at=moment_of(spec.read_at)))]
    return []


def _question(view: RolloutView, approval: ApprovalView) -> list[str]:
    if approval.purpose is Purpose.START:
        sentence = texts.APPROVAL_TO_START if approval.served is None else texts.APPROVAL_TO_START_FROM
    else:
        finish = approval.to_stage >= len(view.plan.stages)
        sentence = texts.APPROVAL_TO_FINISH if finish else texts.APPROVAL_TO_PROMOTE
    escalated, before = approval.escalated_at, view.exposure if view.exposure is not None else approval.served
    return [
        sentence.format(before=escape(before, 80), after=escape(_stage_exposure(view, approval.to_stage), 80)),
        texts.APPROVAL_WHY.format(why=escape(approval.why)),
        texts.APPROVAL_QUORUM.format(
            have=len(approval.by),
            needed=approval.needed,
            by=_approved_by(approval),
            requester=person(approval.requester),
            expires=moment_of(approval.expires_at),
        ),
        "" if escalated is None else texts.APPROVAL_ESCALATED.format(since=moment_of(escalated)),
    ]


def _approved_by(approval: ApprovalView) -> str:
    """Who has approved so far, each with the moment."""
    when = [moment_of(at) for at in approval.at]
    people = [
        texts.APPROVAL_BY_ONE.format(person=person(who), at=when[number]) if number < len(when) else person(who)
        for number, who in enumerate(approval.by[:MOST_APPROVERS])
    ]
    return texts.APPROVAL_BY.format(people=", ".join(people)) if people else ""


def _rollback(view: RolloutView, decisions: Sequence[Event]) -> list[str]:
    began = [event for event in decisions if event.kind == Happening.ROLLBACK_STARTED]
    done = view.phase is Phase.ROLLED_BACK
    before = escape(began[-1].payload.get("before") or "?", 80) if began else "?"
    after = view.exposure if done else view.setting or view.known_good
    because = texts.ROLLBACK_BECAUSE if done else texts.ROLLING_BACK_BECAUSE
    return [
        texts.BEFORE_AFTER.format(before=before, after=escape(after, 80)),
        because.format(reason=escape(view.rollback_reason or texts.NOT_SAID)),
    ]


def _guardrails(view: RolloutView, check: CheckView) -> list[Block]:
    served = view.stage_in_force.exposure if view.phase in TAKEN_BACK and view.stage_in_force else view.exposure
    whole = served is not None and served.live_percent >= 100
    told = [one for one in check.guardrails if view.phase in LIVE or one[1].harm is not Harm.NONE]
    blocks = [parts.divider()] if told else []
    for guardrail, verdict, newest in told[:MOST_GUARDRAILS]:
        left = [
            guardrails.judgement(guardrail, verdict),
            guardrails.value(guardrail, verdict, check.numbers_of(guardrail), against_ceiling=whole),
            *(accepted := accepted_lines(view, guardrail.metric)),
        ]
        if verdict.drift:
            left.append(texts.DRIFTED.format(why=escape(verdict.drift, DRIFT_CHARACTERS)))
        proofs = guardrails.evidence(verdict, guardrail, accepted=bool(accepted))
        right = [*proofs, guardrails.sample(guardrail, verdict, newest, check.at)]
        blocks.append(parts.columns("\n".join(left), "\n".join(right)))
    rest = len(told) - MOST_GUARDRAILS
    if rest > 0:
        blocks.append(parts.context(texts.MORE_GUARDRAILS.format(count=rest, flag=name(view.flag))))
    odd = [escape(one.why, DRIFT_CHARACTERS) for one in check.mixes if one.drifted or not one.seen]
    if odd:
        blocks.append(parts.context(*(texts.DRIFTED.format(why=why) for why in odd[:MOST_MIXES])))
    return blocks


def _decision(event: Event) -> str:
    told = line(Happening(event.kind), event.actor, event.payload)
    return f"{moment_of(event.at)}   {fitted(told, DECISION_CHARACTERS)}"


def _approved(view: RolloutView, approved: Sequence[Event]) -> str:
    """Who approved what, and when."""
    return texts.APPROVED.format(list=" · ".join(_approval(view, event) for event in approved)) if approved else ""


def _approval(view: RolloutView, event: Event) -> str:
    by, to_stage = event.payload.get("by"), event.payload.get("to_stage")
    people = ", ".join(person(str(who)) for who in (by if isinstance(by, list) else [event.actor])[:MOST_APPROVERS])
    if event.payload.get("purpose") == Purpose.START or not isinstance(to_stage, int):
        return texts.APPROVED_START.format(people=people, at=moment_of(event.at))
    sentence = texts.APPROVED_FINISH if to_stage >= len(view.plan.stages) else texts.APPROVED_STAGE
    return sentence.format(number=to_stage + 1, people=people, at=moment_of(event.at))


def _footer(view: RolloutView) -> str:
    pieces = [
        texts.REQUESTED_BY.format(requester=person(view.requester)),
        texts.PLAN_VERSION.format(version=view.plan_version, digest=view.plan.sha256[:8]),
    ]
    if view.phase in LIVE:
        pieces.append(texts.CHECKED.format(at=clock_time(view.check.at)) if view.check else texts.NOT_CHECKED_YET)
        if view.next_check is not None:
            pieces.append(texts.NEXT_CHECK.format(at=clock_time(view.next_check)))
    return " · ".join(pieces)
