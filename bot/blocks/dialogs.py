"""Modals that ask for a reason. What they are about stands in their private metadata."""

import json
from collections.abc import Mapping
from typing import Any

from slack_sdk.models.blocks import InputBlock, PlainTextInputElement
from slack_sdk.models.views import View

from agent.redaction import redacted
from bot import texts
from bot.blocks import parts
from bot.blocks.mrkdwn import escape
from bot.blocks.sent import TEXT, Asks

REJECT, PAUSE = "rollout.reject.reason", "rollout.pause.reason"
FEEDBACK = "answer.feedback.reason"
REFUSAL = "rollout.refused"
REASON = "reason"
MOST_REASON = 500
ASKS: Asks = {(REASON, REASON): TEXT}


def reject_dialog(approval_id: str, channel: str | None) -> View:
    """Asks an approver why."""
    return _dialog(
        REJECT,
        approval_id,
        channel,
        title=texts.REJECT_TITLE,
        submit=texts.REJECT_SUBMIT,
        intro=texts.REJECT_INTRO,
        label=texts.REJECT_LABEL,
        hint=texts.REJECT_HINT,
    )


def refusal_dialog(why: str) -> View:
    """Says why an answer would not count; there is nothing to submit."""
    return View(
        type="modal",
        callback_id=REFUSAL,
        title=parts.words(texts.REFUSED_TITLE, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.REFUSED_CLOSE, parts.MAX_MODAL_TITLE),
        blocks=[parts.section(escape(why, 1500))],
    )


def pause_dialog(rollout_id: str, channel: str | None) -> View:
    """Asks whoever pauses why."""
    return _dialog(
        PAUSE,
        rollout_id,
        channel,
        title=texts.PAUSE_TITLE,
        submit=texts.PAUSE_SUBMIT,
        intro=texts.PAUSE_INTRO,
        label=texts.PAUSE_LABEL,
        hint=texts.PAUSE_HINT,
    )


def feedback_dialog(run_id: str, channel: str | None) -> View:
    """Asks whoever disliked an answer why, if they like to say."""
    return _dialog(
        FEEDBACK,
        run_id,
        channel,
        title=texts.FEEDBACK_TITLE,
        submit=texts.FEEDBACK_SUBMIT,
        intro=texts.FEEDBACK_INTRO,
        label=texts.FEEDBACK_LABEL,
        hint=texts.FEEDBACK_HINT,
        close=texts.FEEDBACK_CLOSE,
        optional=True,
    )


def subject_of(private_metadata: str) -> tuple[str, str | None]:
    """The id that a dialog is about, and the channel where its button was pressed; nothing where it is none of ours."""
    try:
        about = json.loads(private_metadata)
        return str(about["id"]), about["channel"]
    except (ValueError, KeyError, TypeError):
        return "", None


def reason_in(view: Mapping[str, Any]) -> str:
    """The reason in a dialog that was submitted, as it is kept; empty when none was given."""
    return kept_reason(view["state"]["values"][REASON][REASON].get("value"))


def kept_reason(words: object) -> str:
    """A reason in one line, without what looks like a secret: it goes into the log, from which nothing is taken out."""
    return " ".join(redacted(str(words or "")).split())[:MOST_REASON]


def _dialog(
    callback_id: str,
    about: str,
    channel: str | None,
    *,
    title: str,
    submit: str,
    intro: str,
    label: str,
    hint: str,
    close: str = texts.CLOSE,
    optional: bool = False,
) -> View:
    reason = InputBlock(
        block_id=REASON,
        optional=optional,
        label=parts.words(label, 200),
        hint=parts.words(hint, 200),
        element=PlainTextInputElement(action_id=REASON, multiline=True, max_length=MOST_REASON, focus_on_load=True),
    )
    return View(
        type="modal",
        callback_id=callback_id,
        title=parts.words(title, parts.MAX_MODAL_TITLE),
        submit=parts.words(submit, parts.MAX_MODAL_TITLE),
        close=parts.words(close, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": about, "channel": channel}),
        blocks=[parts.section(intro), reason],
    )
