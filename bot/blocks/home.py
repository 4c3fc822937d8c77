"""The Home tab: what waits for the person, what is rolling out, what was decided, and how well everything is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from slack_sdk.models.blocks import Block, ButtonElement, ContextBlock, LinkButtonElement, SectionBlock
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import card, freezing, guardrails, notifying, parts, starting
from bot.blocks.lines import line
from bot.blocks.mrkdwn import clock_time, escape, fitted, moment_of, name, person, plain
from bot.blocks.questions import question
from bot.health import Finding, Part
from tools.plans.model import Exposure, Mode
from tools.records.log import Event
from tools.rollouts.events import Happening
from tools.rollouts.freezes import FreezeView
from tools.rollouts.glance import Glance
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import ApprovalView, RolloutView

SEE = "home.see"
"""The action id of buttons that lead to a card; Slack tells of each press, and there is nothing to do."""
MOVING = "home.moving"
"""The id of the block whose moments move by themselves, which alone is no reason to publish."""
MOST_WAITING, MOST_ROLLOUTS, MOST_FREEZES = 6, 12, 6
CELLS = 12
LINE_CHARACTERS = 220


@dataclass(frozen=True, slots=True)
class Home:
    """What a person is shown. `asked` are the rollouts whose question they may answer, of `waiting` in all; `stuck` are
    those that stand still until they or somebody like them acts; `links` are the addresses of cards by rollout id; a
    `newcomer` never asked for a rollout and never answered a question."""

    person: str
    at: datetime
    glance: Glance
    asked: Sequence[RolloutView]
    waiting: int
    freezes: Sequence[FreezeView]
    health: Sequence[Finding]
    links: Mapping[str, str]
    newcomer: bool
    stuck: Sequence[RolloutView] = ()


def home_view(home: Home) -> View:
    """The tab."""
    begins = _newcomer() if home.newcomer else []
    idle = not sum(home.glance.phases.values())
    blocks = [
        parts.header(texts.HELP_TITLE),
        parts.section(_summary(home)),
        parts.actions(_start(), freezing.open_button(), notifying.open_button()),
        *(begins if idle else []),
        *_waiting(home),
        *_rollouts(home),
        *_freezes(home),
        *_decisions(home),
        *([] if idle else begins),
        parts.divider(),
        _health(home),
    ]
    return View(type="home", blocks=blocks)


def _summary(home: Home) -> str:
    total = sum(home.glance.phases.values())
    holding = sum(one.holds(home.at) for one in home.freezes)
    waiting = home.waiting + len(home.stuck)
    said = [texts.HOME_COUNT_WAITING[min(waiting, 2)], texts.HOME_COUNT_OPEN[min(total, 2)]]
    counts = [waiting, total]
    if holding:
        said.append(texts.HOME_COUNT_FROZEN[min(holding, 2)])
        counts.append(holding)
    return " · ".join(one.format(count=texts.count(number)) for one, number in zip(said, counts, strict=True))


def _start() -> ButtonElement:
    button = starting.open_button()
    button.style = "primary"
    return button


def _newcomer() -> list[Block]:
    able = "\n".join(f"• {one}" for one in texts.HOME_ABLE)
    tries = "\n".join(f"*{number}.* {one}" for number, one in enumerate(texts.HOME_THINGS_TO_TRY, start=1))
    return [parts.divider(), parts.section(texts.HOME_NEW, able), parts.section(texts.HOME_TRY, tries)]


# -- what waits for the person --------------------------------------------------------------------------------------


def _waiting(home: Home) -> list[Block]:
    others = len(home.glance.asked) - home.waiting
    if not home.waiting and not home.stuck and not others and home.glance.sure:
        return []
    blocks: list[Block] = [parts.divider(), parts.section(texts.HOME_WAITING)]
    for view in home.asked:
        if view.approval is not None:
            blocks += [parts.section(_asked(view, view.approval)), _answers(view, view.approval, home.links)]
    blocks += [_with_link(view, home.links, _stuck(view)) for view in home.stuck[:MOST_WAITING]]
    if not home.waiting and not home.stuck:
        blocks.append(parts.section(texts.HOME_NOTHING_WAITS))
    notes, rest = [], home.waiting - len(home.asked) + max(0, len(home.stuck) - MOST_WAITING)
    if rest > 0:
        notes.append(texts.HOME_MORE_WAIT.format(count=rest))
    if others:
        notes.append(texts.HOME_OTHERS[min(others, 2)].format(count=texts.count(others)))
    if not home.glance.sure:
        notes.append(texts.HOME_UNSURE)
    return [*blocks, *([parts.context(*notes)] if notes else [])]


def _stuck(view: RolloutView) -> str:
    """Why it stands still, and what ends that."""
    facts = {"flag": name(view.flag), "environment": name(view.environment)}
    if view.phase is Phase.PAUSED:
        reason = escape(view.pause_reason or texts.NOT_SAID, LINE_CHARACTERS)
        ends = escape(view.pause_ends or texts.NOT_SAID, LINE_CHARACTERS)
        return texts.HOME_PAUSED.format(reason=reason, ends=ends, **facts)
    if view.blind_since is not None:
        since, deadline = clock_time(view.blind_since), clock_time(view.blind_since + view.plan.blind_budget)
        return texts.HOME_BLIND.format(since=since, deadline=deadline, **facts)
    why = texts.NOT_SAID if view.spec is None else view.spec.why
    return texts.HOME_STALE.format(why=escape(why, LINE_CHARACTERS), **facts)


def _asked(view: RolloutView, approval: ApprovalView) -> str:
    return texts.HOME_APPROVAL.format(
        flag=name(view.flag),
        environment=name(view.environment),
        question=question(view.plan, approval),
        have=len(approval.by),
        needed=approval.needed,
        requester=person(approval.requester),
        expires=moment_of(approval.expires_at),
        why=escape(approval.why, LINE_CHARACTERS),
    )


def _answers(view: RolloutView, approval: ApprovalView, links: Mapping[str, str]) -> Block:
    buttons = card.answers(view, approval)
    for button in buttons:
        label = texts.APPROVE if button.action_id == card.APPROVE else texts.REJECT
        button.accessibility_label = _of(label, view)
    return parts.actions(*buttons, *_see(view, links))


def _see(view: RolloutView, links: Mapping[str, str]) -> list[ButtonElement]:
    if view.id not in links:
        return []
    label = parts.words(texts.HOME_SEE, parts.MAX_BUTTON)
    see = LinkButtonElement(text=label, url=links[view.id], action_id=SEE)
    see.accessibility_label = _of(texts.HOME_SEE, view)
    return [see]


def _of(label: str, view: RolloutView) -> str:
    """What a button does, for who hears it and not what stands beside it."""
    said = texts.HOME_OF.format(label=label, flag=view.flag, environment=view.environment)
    return plain(said, parts.MAX_BUTTON)


# -- what is rolling out ---------------------------------------------------------------------------------------------


def _rollouts(home: Home) -> list[Block]:
    shown = home.glance.rollouts[:MOST_ROLLOUTS]
    if not shown and home.newcomer:
        return []
    blocks: list[Block] = [parts.divider(), parts.section(texts.HOME_OPEN)]
    if not shown:
        return [*blocks, parts.section(texts.HOME_NOTHING_OPEN)]
    blocks += [_rollout(view, home.links) for view in shown]
    rest = sum(home.glance.phases.values()) - len(shown)
    if rest > 0:
        of_phases = [
            texts.HOME_OF_PHASE.format(count=texts.count(number), phase=texts.PHASES[phase][1].lower())
            for phase, number in sorted(home.glance.phases.items())
        ]
        blocks.append(parts.context(texts.HOME_MORE.format(count=texts.count(rest), phases=", ".join(of_phases))))
    return blocks


def _rollout(view: RolloutView, links: Mapping[str, str]) -> Block:
    return _with_link(view, links, "\n".join(rollout_lines(view)))


def _with_link(view: RolloutView, links: Mapping[str, str], text: str) -> Block:
    see = _see(view, links)
    return SectionBlock(text=parts.mrkdwn(text), accessory=see[0] if see else None)


def rollout_lines(view: RolloutView) -> list[str]:
    """A rollout's phase and stage, who gets what, and why where it stands still or goes back."""
    glyph, phase = texts.PHASES[view.phase]
    stage = ""
    if view.stage is not None and view.phase in LIVE:
        stage = ", " + texts.STAGE_OF.format(number=view.stage + 1, total=len(view.plan.stages))
    facts = {"flag": name(view.flag), "environment": name(view.environment)}
    lines = [texts.HOME_ROLLOUT.format(glyph=glyph, phase=phase.lower(), stage=stage, **facts)]
    if view.exposure is not None:
        lines.append(_exposure(view.exposure))
    if view.phase is Phase.PAUSED:
        lines.append(f">{escape(view.pause_reason or texts.NOT_SAID, LINE_CHARACTERS)}")
    elif view.phase is Phase.ROLLING_BACK:
        lines.append(f">{escape(view.rollback_reason or texts.NOT_SAID, LINE_CHARACTERS)}")
    elif view.frozen is not None:
        lines.append(freezing.said(texts.HOME_FROZEN, view.frozen))
    return lines


def _exposure(exposure: Exposure) -> str:
    shadow = texts.HOME_SHADOW if exposure.mode is Mode.SHADOW else ""
    return f"{guardrails.bar(exposure.percent / 100, CELLS)}  *{texts.percentage(exposure.percent)}*{shadow}"


def _freezes(home: Home) -> list[Block]:
    if not home.freezes:
        return []
    blocks = [parts.divider(), *freezing.freezes_blocks(home.freezes[:MOST_FREEZES], home.at)]
    rest = len(home.freezes) - MOST_FREEZES
    return [*blocks, *([parts.context(texts.LIST_MORE.format(count=rest))] if rest > 0 else [])]


# -- what was decided, and how well everything is ---------------------------------------------------------------------


def _decisions(home: Home) -> list[Block]:
    if not home.glance.decided:
        return []
    told = [parts.context(_decision(event)) for event in home.glance.decided]
    return [parts.divider(), parts.section(texts.HOME_DECIDED), *told]


def _decision(event: Event) -> str:
    flag, environment = event.payload.get("flag"), event.payload.get("environment")
    # A freeze says itself what it is of.
    of_rollout = event.rollout_id is not None and flag is not None
    about = texts.HOME_ABOUT.format(flag=name(flag), environment=name(environment)) if of_rollout else ""
    said = line(Happening(event.kind), event.actor, event.payload)
    return f"{moment_of(event.at)}   {about}{fitted(said, LINE_CHARACTERS)}"


def _health(home: Home) -> Block:
    lines = [texts.HOME_HEALTH, *map(_finding, home.health), texts.HOME_AS_OF.format(at=clock_time(home.at))]
    return ContextBlock(block_id=MOVING, elements=[parts.mrkdwn("\n".join(lines), parts.MAX_CONTEXT)])


def _finding(finding: Finding) -> str:
    what = texts.HEALTH_OF[finding.part].format(name=escape(finding.name, 80))
    if finding.part is Part.MODEL and not finding.name:
        return texts.HEALTH_NO_MODEL
    if finding.well is None or finding.at is None:
        return texts.HEALTH_UNKNOWN.format(what=what)
    said = texts.HEALTH_WELL if finding.well else texts.HEALTH_NOT_WELL
    return said.format(what=what, does=texts.HEALTH_DOES[finding.part][not finding.well], at=clock_time(finding.at))
