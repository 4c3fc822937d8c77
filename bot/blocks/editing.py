"""The dialog in which a plan is edited as a table of stages, each judged while it is filled in."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    InputBlock,
    InteractiveElement,
    NumberInputElement,
    Option,
    PlainTextInputElement,
    StaticSelectElement,
)
from slack_sdk.models.blocks.basic_components import DispatchActionConfig
from slack_sdk.models.views import View

from bot import texts
from bot.blocks import parts
from bot.blocks.dialogs import kept_reason
from bot.blocks.mrkdwn import escape, name, plain
from bot.blocks.sent import TEXT, Asks
from tools.plans.editing import Edited, Judged, Row, rows_of
from tools.plans.kinds import without_splits
from tools.plans.model import MOST_STAGES, Mode, Plan
from tools.rollouts.views import RolloutView

EDIT = "plan.edit.submitted"
PERCENT, MODE, HOLD, LIMIT = "plan.edit.percent", "plan.edit.mode", "plan.edit.hold", "plan.edit.limit"
ADD, REMOVE, MARGIN = "plan.edit.add", "plan.edit.remove", "plan.edit.margin"
REASON = "reason"
ASKS: Asks = {(REASON, REASON): TEXT}
"""Beside the inputs of the rows and margins, which differ from plan to plan."""
AS_PROVEN = "proof"
"""The time limit that is left to the calculators."""
MOST_REASON, MOST_FAULT = 300, 400
MOST_MARGINS = 6
MOST_NOTES = 3
LENGTHS = (30, 60, 120, 300, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200, 10800, 14400, 21600, 28800, 43200, 64800)
LONG_LENGTHS = (86400, 129600, 172800, 259200, 432000, 604800, 1209600)
"""Seconds that a stage may be held or take, to choose from."""


@dataclass(frozen=True, slots=True)
class Table:
    """What stands in the dialog: the rows by their keys, margins that differ, and why. `version` is the plan's."""

    rollout_id: str
    channel: str | None
    version: int
    rows: Mapping[str, Row]
    margins: Mapping[str, float]
    reason: str = ""

    def after(self, key: str) -> "Table":
        """With a stage put in after that row, halfway to the next one."""
        if key not in self.rows or len(self.rows) >= MOST_STAGES:
            return self
        rows = dict[str, Row]()
        keys = list(self.rows)
        following = keys[keys.index(key) + 1 :]
        for one, row in self.rows.items():
            rows[one] = row
            if one == key:
                bound = self.rows[following[0]].percent if following else 100.0
                rows[_new_key(self.rows)] = Row(None, _between(row.percent, bound), row.mode, row.hold, None)
        return self._with(rows)

    def without(self, key: str) -> "Table":
        """Without that row."""
        return self._with({one: row for one, row in self.rows.items() if one != key})

    def _with(self, rows: Mapping[str, Row]) -> "Table":
        return Table(self.rollout_id, self.channel, self.version, rows, self.margins, self.reason)


def table_of(view: RolloutView, channel: str | None) -> Table:
    """The plan as it stands."""
    rows = {f"o{origin}": row for origin, row in enumerate(rows_of(view.plan))}
    return Table(view.id, channel, view.plan_version, rows, {})


def about(private_metadata: str) -> tuple[str, int]:
    """The rollout that a dialog is about, and the version that is edited; nothing where it is none of ours."""
    try:
        found = json.loads(private_metadata)
        return str(found["id"]), int(found["version"])
    except (ValueError, KeyError, TypeError):
        return "", 0


def table_in(dialog: Mapping[str, Any], view: RolloutView, known: Mapping[str, Row] | None = None) -> Table:
    """What stands in the dialog now.

    `known` are the rows that it has by now, where the person's screen is older; what is on the screen counts.
    """
    values = (dialog.get("state") or {}).get("values") or {}
    rollout_id, version = about(dialog["private_metadata"])
    plan_rows = {f"o{origin}": row for origin, row in enumerate(rows_of(view.plan))}
    done = [f"o{origin}" for origin in range(view.stage or 0)]
    keys = list(known) if known is not None else [*done, *_keys(dialog["blocks"])]
    before = {**plan_rows, **(known or {})}
    rows = {key: _row(key, values, before.get(key)) for key in keys}
    reason = values.get(REASON, {}).get(REASON, {}).get("value")
    return Table(
        rollout_id,
        json.loads(dialog["private_metadata"]).get("channel"),
        version,
        rows,
        dict(_margins(values, view.plan)),
        kept_reason(reason),
    )


def loading_dialog(rollout_id: str, channel: str | None) -> View:
    """What is shown while the plan's metrics are measured."""
    return View(
        type="modal",
        callback_id=EDIT,
        title=parts.words(texts.EDIT_TITLE, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": rollout_id, "channel": channel, "version": 0}),
        blocks=[parts.section(texts.EDIT_LOADING)],
    )


def edit_dialog(view: RolloutView, table: Table, edited: Edited, *, shadow: bool, missing: Sequence[str] = ()) -> View:
    """The table with its judgement. `shadow`: stages may run in shadow; `missing` are metrics that can't be read."""
    blocks: list[Block] = [parts.section(_intro(view))]
    judged = edited.rows or (None,) * len(table.rows)
    for number, ((key, row), found) in enumerate(zip(table.rows.items(), judged, strict=True)):
        blocks += _stage(view, table, number, key, row, found, shadow=shadow and view.stage is None)
    blocks.append(parts.divider())
    if view.stage is None:
        blocks += [_margin(metric, was, table.margins.get(metric, was)) for metric, was in _margins_of(view.plan)]
    blocks.append(parts.section(*_in_all(edited)))
    if missing:
        blocks.append(parts.context(*(escape(one, 300) for one in missing[:MOST_NOTES])))
    blocks.append(
        InputBlock(
            block_id=REASON,
            label=parts.words(texts.EDIT_REASON, 200),
            hint=parts.words(texts.EDIT_REASON_HINT, 200),
            element=PlainTextInputElement(
                action_id=REASON, max_length=MOST_REASON, initial_value=table.reason[:MOST_REASON] or None
            ),
        )
    )
    return View(
        type="modal",
        callback_id=EDIT,
        title=parts.words(texts.EDIT_TITLE, parts.MAX_MODAL_TITLE),
        submit=parts.words(texts.EDIT_SUBMIT, parts.MAX_MODAL_TITLE),
        close=parts.words(texts.CLOSE, parts.MAX_MODAL_TITLE),
        private_metadata=json.dumps({"id": table.rollout_id, "channel": table.channel, "version": table.version}),
        blocks=blocks,
    )


def errors_in(view: RolloutView, table: Table, edited: Edited) -> dict[str, str]:
    """What has to be corrected before the table can be sent, at the input where it can be."""
    errors = dict[str, list[str]]()
    for number, (key, row) in enumerate(zip(table.rows, edited.rows, strict=False)):
        for fault in row.faults:
            place, said = _percent_id(key), fault
            if _is_fixed(view, number, table.rows[key]):
                place, said = REASON, texts.EDIT_FAULT_OF.format(number=number + 1, fault=fault)
            errors.setdefault(place, []).append(said)
    for fault in (*edited.faults, *((edited.unchanged,) if edited.unchanged else ())):
        errors.setdefault(REASON, []).append(fault)
    return {block: plain(" ".join(said), MOST_FAULT) for block, said in errors.items()}


def _intro(view: RolloutView) -> str:
    facts = {"flag": name(view.flag), "environment": name(view.environment), "version": view.plan_version}
    return (texts.EDIT_INTRO if view.stage is None else texts.EDIT_INTRO_RUNNING).format(**facts)


def _stage(
    view: RolloutView, table: Table, number: int, key: str, row: Row, found: Judged | None, *, shadow: bool
) -> Iterator[Block]:
    shown = view.plan.stages[row.origin].exposure if row.origin is not None else None
    if view.stage is not None and number < view.stage:
        yield parts.context(texts.EDIT_STAGE_DONE.format(number=number + 1, exposure=escape(shown, 80)))
        return
    if _is_fixed(view, number, row):
        yield parts.section(texts.EDIT_STAGE_IN_FORCE.format(number=number + 1, exposure=escape(shown, 80)))
    else:
        label = texts.EDIT_PERCENT.format(number=number + 1)
        yield _number(_percent_id(key), PERCENT, label, row.percent, least="0.001", most="100")
    yield _choices(view, table, number, key, row, shadow=shadow)
    yield parts.context(*_judgement(row, found))


def _choices(view: RolloutView, table: Table, number: int, key: str, row: Row, *, shadow: bool) -> Block:
    elements: list[InteractiveElement] = []
    if shadow or row.mode is Mode.SHADOW:
        modes = [_option(mode, said) for mode, said in texts.EDIT_MODES.items()]
        if not _is_fixed(view, number, row):
            elements.append(_select(MODE, texts.EDIT_MODE, modes, row.mode))
    holds = [_option(seconds, texts.EDIT_AT_LEAST.format(length=said)) for seconds, said in _lengths(row.hold)]
    elements.append(_select(HOLD, texts.EDIT_HOLD, holds, _seconds(row.hold)))
    limits = [_option(seconds, texts.EDIT_AT_MOST.format(length=said)) for seconds, said in _lengths(row.limit)]
    chosen = AS_PROVEN if row.limit is None else _seconds(row.limit)
    elements.append(_select(LIMIT, texts.EDIT_LIMIT, [_option(AS_PROVEN, texts.EDIT_AS_PROVEN), *limits], chosen))
    is_last = key == list(table.rows)[-1]
    if len(table.rows) < MOST_STAGES and not (is_last and (row.percent or 100) >= 100):
        elements.append(parts.button(texts.EDIT_ADD, ADD, key))
    if len(table.rows) > 1 and not _is_fixed(view, number, row):
        elements.append(parts.button(texts.EDIT_REMOVE, REMOVE, key))
    block = parts.actions(*elements)
    block.block_id = _row_id(key)
    return block


def _judgement(row: Row, found: Judged | None) -> list[str]:
    if found is None:
        return [texts.EDIT_NOT_JUDGED]
    if found.faults:
        return [texts.EDIT_FAULT.format(fault=escape(fault, MOST_FAULT)) for fault in found.faults]
    if found.stage is None or found.needed is None:
        return [texts.EDIT_NOT_MEASURED]
    sentence = texts.EDIT_TOO_SHORT if found.is_too_short else texts.EDIT_PROVEN
    said = sentence.format(
        number=row.origin,
        metric=name(found.slowest),
        needed=texts.duration(found.needed),
        limit=texts.duration(found.stage.time_limit),
        sample=texts.count(max(one.min_sample for one in found.stage.guardrails)),
    )
    return [said]


def _in_all(edited: Edited) -> list[str]:
    lines = []
    if edited.usual is not None and edited.longest is not None:
        facts = {"usual": texts.duration(edited.usual), "longest": texts.duration(edited.longest)}
        lines.append(texts.EDIT_IN_ALL.format(**facts))
    else:
        lines.append(texts.EDIT_IN_ALL_UNKNOWN)
    return [*lines, *(texts.EDIT_FAULT.format(fault=escape(fault, MOST_FAULT)) for fault in edited.faults)]


def _margin(metric: str, was: float, now: float) -> Block:
    label = texts.EDIT_MARGIN.format(metric=plain(metric, 80))
    return _number(_margin_id(metric), MARGIN, label, now, least="1.001", most="100")


def _margins_of(plan: Plan) -> list[tuple[str, float]]:
    rails = without_splits(rail for stage in plan.stages for rail in stage.guardrails)
    return list({rail.metric: rail.margin for rail in rails}.items())[:MOST_MARGINS]


def _margins(values: Mapping[str, Any], plan: Plan) -> Iterator[tuple[str, float]]:
    """Those that differ from the plan's; what is no number is left as it was, for Slack takes none."""
    for metric, was in _margins_of(plan):
        now = _number_in(values.get(_margin_id(metric), {}).get(MARGIN, {}), was)
        if now is not None and 1 < now <= 100 and now != was:
            yield metric, now


def _row(key: str, values: Mapping[str, Any], before: Row | None) -> Row:
    had = before or Row(None, None, Mode.LIVE, timedelta(minutes=30), None)
    chosen = values.get(_row_id(key), {})
    percent = values.get(_percent_id(key))
    mode, hold, limit = (_chosen(chosen.get(one)) for one in (MODE, HOLD, LIMIT))
    return Row(
        had.origin,
        had.percent if percent is None else _number_in(percent.get(PERCENT, {}), had.percent),
        Mode(mode) if mode in list(Mode) else had.mode,
        _length(hold, had.hold) or had.hold,
        None if limit == AS_PROVEN else _length(limit, had.limit) or had.limit,
    )


def _keys(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    ids = [str(block.get("block_id", "")) for block in blocks]
    return [one.removeprefix(_row_id("")) for one in ids if one.startswith(_row_id(""))]


def _new_key(rows: Mapping[str, Row]) -> str:
    taken = [int(key[1:]) for key in rows if key.startswith("n") and key[1:].isdigit()]
    return f"n{max(taken, default=0) + 1}"


def _is_fixed(view: RolloutView, number: int, row: Row) -> bool:
    """Whether the stage is in force or done, so that its exposure is what it is."""
    return view.stage is not None and number <= view.stage and row.origin == number


def _between(low: float | None, high: float | None) -> float | None:
    if low is None or high is None or high <= low:
        return None
    middle = float(f"{(low + high) / 2:.2g}")
    return middle if low < middle < high else round((low + high) / 2, 3)


def _number(block_id: str, action_id: str, label: str, value: float | None, *, least: str, most: str) -> Block:
    return InputBlock(
        block_id=block_id,
        dispatch_action=True,
        label=parts.words(label, 200),
        element=NumberInputElement(
            action_id=action_id,
            is_decimal_allowed=True,
            initial_value=None if value is None else _typed(value),
            min_value=least,
            max_value=most,
            dispatch_action_config=DispatchActionConfig(trigger_actions_on=["on_character_entered"]),
        ),
    )


def _select(action_id: str, placeholder: str, options: Sequence[Option], chosen: str) -> StaticSelectElement:
    return StaticSelectElement(
        action_id=action_id,
        placeholder=parts.words(placeholder, 150),
        options=list(options),
        initial_option=next(option for option in options if option.value == chosen),
    )


def _option(value: str, label: str) -> Option:
    return Option(value=value, text=parts.words(label, 75))


def _lengths(present: timedelta | None) -> list[tuple[str, str]]:
    """Lengths to choose from, the present one among them."""
    own = {round(present.total_seconds())} if present is not None else set[int]()
    return [(str(one), texts.duration(timedelta(seconds=one))) for one in sorted({*LENGTHS, *LONG_LENGTHS, *own})]


def _seconds(length: timedelta) -> str:
    return str(round(length.total_seconds()))


def _length(seconds: str, before: timedelta | None) -> timedelta | None:
    """The length that is chosen; the one before, to its last microsecond, where that is still the choice."""
    if before is not None and seconds == _seconds(before):
        return before
    return timedelta(seconds=int(seconds)) if seconds.isdigit() else None


def _chosen(state: Mapping[str, Any] | None) -> str:
    return str(((state or {}).get("selected_option") or {}).get("value") or "")


def _number_in(state: Mapping[str, Any], before: float | None) -> float | None:
    """The number that is typed; the one before, to its last digit, where that still stands there."""
    typed = str(state.get("value"))
    if before is not None and typed == _typed(before):
        return before
    try:
        number = float(typed.replace(",", "."))
    except ValueError:
        return None
    return round(number, 3) if math.isfinite(number) else None


def _typed(number: float) -> str:
    return f"{number:g}"


def _row_id(key: str) -> str:
    return f"row:{key}"


def _percent_id(key: str) -> str:
    return f"percent:{key}"


def _margin_id(metric: str) -> str:
    return f"margin:{metric}"
