"""What a gate finds and an approver accepts: on the card, and the dialog that asks for it."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from slack_sdk.models.blocks import Block, ButtonElement, InputBlock, Option, StaticSelectElement
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import guardrails, parts
from bot.blocks.dialogs import refusal_dialog
from bot.blocks.freezing import (
    MOST_OPTION_TEXT,
    MOST_OPTION_VALUE,
    MOST_OPTIONS,
    REASON,
    UNTIL,
    reason_in,
    reason_input,
    until_in,
    until_input,
)
from bot.blocks.mrkdwn import escape, moment_of, name, person, plain
from bot.blocks.sent import MENU, MOMENT, TEXT, Asks
from tools.gates import Harm
from tools.rollouts.acceptances import MOST_REASON, Acceptable, AcceptanceView, Finding, is_finding
from tools.rollouts.phases import Phase
from tools.rollouts.views import CheckView, RolloutView

__all__ = ["REASON", "UNTIL", "reason_in", "until_in"]

SUBMITTED, LOADING = "acceptance.submitted", "acceptance.loading"
ACCEPT, WITHDRAW = "rollout.accept", "rollout.withdraw_acceptance"
WITHDRAWN = re.compile(re.escape(WITHDRAW) + r"\.\d+")
"""The action ids of the buttons that have an accepted metric count again."""
METRIC = "metric"
ASKS: Asks = {(METRIC, METRIC): MENU, (UNTIL, UNTIL): MOMENT, (REASON, REASON): TEXT}
USUALLY = timedelta(days=1)
"""The time that the dialog begins with."""
MOST_BUTTONS = 2


def accepted_lines(view: RolloutView, metric: str) -> list[str]:
    """Who accepted what is found of the metric, on the line of its guardrail."""
    return [
        texts.ACCEPTED_LINE.format(
            until=moment_of(one.until), person=person(one.by), reason=escape(one.reason, MOST_REASON)
        )
        for one in view.acceptances
        if one.metric == metric
    ]


def overriding(view: RolloutView) -> list[ButtonElement]:
    """The buttons to accept what is found, where that is what stands in the way, and to have it count again."""
    again = [_again(one, number) for number, one in enumerate(view.acceptances[:MOST_BUTTONS])]
    return [*([parts.button(texts.ACCEPT, ACCEPT, view.id)] if _in_the_way(view) else []), *again]


def loading_dialog(channel: str | None) -> View:
    """What is shown while the findings are read."""
    return _view(LOADING, "", channel, [parts.section(texts.ACCEPT_LOADING)], submit=None)


def accept_dialog(view: RolloutView, able: Acceptable, *, at: datetime, channel: str | None) -> View:
    """Asks what is accepted, until when and why."""
    intro = texts.ACCEPT_INTRO.format(flag=name(view.flag), environment=name(view.environment))
    carried = [one for one in able.findings if len(one.metric) <= MOST_OPTION_VALUE]
    if not carried:
        return refusal_dialog(texts.ACCEPT_NAMES_TOO_LONG)
    options = [_option(one) for one in carried[:MOST_OPTIONS]]
    longest = texts.duration(able.latest - at)
    blocks: list[Block] = [
        parts.section(intro, texts.ACCEPT_STAYS_PAUSED if view.phase is Phase.PAUSED else ""),
        InputBlock(
            block_id=METRIC,
            label=parts.words(texts.ACCEPT_METRIC, 200),
            hint=parts.words(texts.ACCEPT_METRIC_HINT.format(far=_far(able)), 200),
            element=StaticSelectElement(action_id=METRIC, options=options, initial_option=options[0]),
        ),
        until_input(
            texts.ACCEPT_UNTIL,
            texts.ACCEPT_UNTIL_HINT.format(longest=longest),
            min(at + USUALLY, able.latest),
            optional=False,
        ),
        reason_input(texts.ACCEPT_REASON, texts.ACCEPT_REASON_HINT, MOST_REASON),
    ]
    return _view(SUBMITTED, view.id, channel, blocks, submit=texts.ACCEPT_SUBMIT)


def metric_in(view: Mapping[str, Any]) -> str:
    """The metric that was chosen."""
    return str((view["state"]["values"][METRIC][METRIC].get("selected_option") or {}).get("value") or "")


def _again(accepted: AcceptanceView, number: int) -> ButtonElement:
    """Slack takes no two buttons in a row whose action ids are the same."""
    label = texts.WITHDRAW.format(metric=plain(accepted.metric, 40))
    return parts.button(label, f"{WITHDRAW}.{number}", accepted.id, confirm=_confirm(accepted))


def _in_the_way(view: RolloutView) -> bool:
    """Whether harm was found that is not accepted, or no proof came within the stage's limit."""
    if view.check is None:
        return False
    accepted = {one.metric for one in view.acceptances}
    found = [
        verdict for rail, verdict, _ in view.check.guardrails if rail.metric not in accepted and is_finding(verdict)
    ]
    return any(verdict.harm is not Harm.NONE or _is_late(view, view.check) for verdict in found)


def _is_late(view: RolloutView, check: CheckView) -> bool:
    stage = view.stage_in_force
    if view.phase is not Phase.PAUSED or stage is None or view.limit_from is None:
        return False
    return check.at - view.limit_from >= stage.time_limit


def _confirm(accepted: AcceptanceView) -> parts.Dialog:
    title, question, yes, no = texts.CONFIRM_WITHDRAW
    shown = question.format(metric=plain(accepted.metric, 80), until=texts.TIME_ON_THE_CARD)
    return title, shown, yes, no


def _option(finding: Finding) -> Option:
    judged = guardrails.judged(finding.verdict)[1]
    said = texts.ACCEPT_OPTION.format(metric=finding.metric, judged=judged)
    return Option(text=parts.words(said, MOST_OPTION_TEXT), value=finding.metric)


def _far(able: Acceptable) -> str:
    far = [
        texts.ACCEPT_FAR.format(metric=one.metric, times=f"{one.far:g}") for one in able.findings if one.far is not None
    ]
    return far[0] if far else ""


def _view(callback_id: str, about: str, channel: str | None, blocks: list[Block], *, submit: str | None) -> View:
    return View(
        type="modal",
        callback_id=callback_id,
        title=parts.words(texts.ACCEPT_TITLE, parts.MAX_MODAL_TITLE),
        submit=None if submit is None else parts.words(submit, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": about, "channel": channel}),
        blocks=blocks,
    )
