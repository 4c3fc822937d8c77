"""Is there anything to judge? Finds out when a metric can't be seen, and says what to look at. Pure.

The controller reads windows of seconds, so that one window without rows means little at a small share. What tells is
silence: `Seen` remembers between checks when each arm last had exposures, and an arm is missing once nothing came for
`stale_after`. The counts of a reading with a gap are no evidence of health. Before that an arm may be quieter than
it was before (`quiet_arm`), which is no gap yet, and no time to promote either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tools.gates import NoData
from tools.metrics.base import Reading

SHOWN_LABELS = 5
SHOWN_LABEL = 40


class Arm(StrEnum):
    """Whose exposures."""

    CONTROL = "control"
    TREATMENT = "treatment"


BOTH = frozenset(Arm)
"""The arms that a comparison needs. At 100 % there is no control left to expect."""


class Lull(BaseModel):
    """Windows in a row without an exposure: how many there are now, and how many there were at most between two with.

    What came before the first exposure is not counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lasting: int = 0
    longest: int = 0

    def after(self, *, heard: bool) -> Self:
        """With one more window."""
        return type(self)(
            lasting=0 if heard else self.lasting + 1, longest=max(self.lasting, self.longest) if heard else self.longest
        )


class Seen(BaseModel):
    """What was seen of a metric so far; plain JSON by `model_dump(mode="json")`.

    Start a new one, `Seen(since=now)`, whenever the exposure changes or a paused rollout goes on: silence from before
    is no fault of the new stage. `unlabelled` is the newest moment with rows that carry no variant, `idle` that of
    rows that count nobody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: AwareDatetime
    control: AwareDatetime | None = None
    treatment: AwareDatetime | None = None
    unlabelled: AwareDatetime | None = None
    idle: AwareDatetime | None = None
    control_lull: Lull = Lull()
    treatment_lull: Lull = Lull()

    def after(self, reading: Reading, *, control: str, treatment: str, now: datetime) -> Self:
        """What was seen once this reading is added. `now` is the end of the reading's window."""
        at = now if reading.newest is None else min(reading.newest, now)
        nobody = bool(reading.by_variant) and not any(_exposures(reading, label) for label in reading.by_variant)
        return self.model_copy(
            update={
                "control": _later(self.control, at, _exposures(reading, control) > 0),
                "treatment": _later(self.treatment, at, _exposures(reading, treatment) > 0),
                "unlabelled": _later(self.unlabelled, at, _exposures(reading, None) > 0),
                "idle": _later(self.idle, at, nobody),
                "control_lull": self._lull(Arm.CONTROL, _exposures(reading, control)),
                "treatment_lull": self._lull(Arm.TREATMENT, _exposures(reading, treatment)),
            }
        )

    def is_quiet(self, arm: Arm) -> bool:
        """Whether nothing has come of it yet, or not for more windows in a row than ever before."""
        lull = self.control_lull if arm is Arm.CONTROL else self.treatment_lull
        return self.last(arm) is None or lull.lasting > lull.longest

    def _lull(self, arm: Arm, exposures: int) -> Lull:
        lull = self.control_lull if arm is Arm.CONTROL else self.treatment_lull
        return lull if self.last(arm) is None else lull.after(heard=exposures > 0)

    def last(self, arm: Arm) -> datetime | None:
        """The newest moment at which that arm had exposures."""
        return self.control if arm is Arm.CONTROL else self.treatment


@dataclass(frozen=True, slots=True)
class Gap:
    """Why there is nothing to judge; `sentence` says what to look at."""

    kind: NoData
    sentence: str


def find_gap(
    reading: Reading,
    seen: Seen,
    *,
    control: str,
    treatment: str,
    now: datetime,
    stale_after: timedelta,
    expected: frozenset[Arm] = BOTH,
) -> Gap | None:
    """Why the metric can't be judged, or None.

    `seen` includes the reading; `control` and `treatment` are the arms' labels; `now` is the end of the reading's
    window, so that the metric's settling time does not count as silence; `expected` are the arms that must be there.
    """
    strangers = [
        label for label in reading.by_variant if label not in (control, treatment, None) and _exposures(reading, label)
    ]
    if strangers:
        return _unknown_labels(strangers, control, treatment)
    silent = [arm for arm in Arm if arm in expected and _is_old(seen.last(arm) or seen.since, now, stale_after)]
    if not silent:
        return None
    labels = {Arm.CONTROL: control, Arm.TREATMENT: treatment}
    known = [(labels[arm], last) for arm in silent if (last := seen.last(arm)) is not None]
    if known:
        return _stopped(known, seen, now, stale_after)
    present = [arm for arm in Arm if not _is_old(seen.last(arm), now, stale_after)]
    return _never_came(
        [labels[arm] for arm in silent], [labels[arm] for arm in present], labels, seen, now, stale_after
    )


def quiet_arm(seen: Seen, *, expected: frozenset[Arm] = BOTH) -> Arm | None:
    """An expected arm of which nothing has come, or not for more windows in a row than it had before; None without one.

    That is measured by the arm itself, as sources deliver by the second or by the minute, and few exposures skip many
    windows.
    """
    return next((arm for arm in Arm if arm in expected and seen.is_quiet(arm)), None)


def _never_came(
    missing: Sequence[str],
    present: Sequence[str],
    labels: dict[Arm, str],
    seen: Seen,
    now: datetime,
    stale_after: timedelta,
) -> Gap:
    names, since = _quoted(missing), _at(seen.since)
    if labels[Arm.TREATMENT] in missing and present:
        return Gap(
            NoData.FLAG_NEVER_EVALUATED,
            f"Only {_quoted(present)} has data since {since}, {names} has none: check that the service asks for this "
            "flag in this environment and reports the variant that it got.",
        )
    if present:
        return Gap(
            NoData.NO_TRAFFIC,
            f"Only {_quoted(present)} has data since {since}, {names} has none: there is nothing to compare with. "
            "Check that the flag leaves someone on it and that its label is right.",
        )
    if not _is_old(seen.unlabelled, now, stale_after):
        return Gap(
            NoData.FLAG_NEVER_EVALUATED,
            f"There is data since {since}, but none of it names a variant: check that the service asks for this flag "
            "and writes the variant next to each row.",
        )
    if not _is_old(seen.idle, now, stale_after):
        return Gap(NoData.NO_TRAFFIC, _no_traffic(since))
    return Gap(
        NoData.EMPTY,
        f"The metric has had no rows at all since {since}: check its query, the flag's and the environment's names "
        "in it, and that the service writes telemetry.",
    )


def _stopped(known: Sequence[tuple[str, datetime]], seen: Seen, now: datetime, stale_after: timedelta) -> Gap:
    if not _is_old(seen.idle, now, stale_after):
        return Gap(NoData.NO_TRAFFIC, _no_traffic(_at(max(last for _, last in known))))
    when = " and ".join(f"{_short(label)} at {_at(last)}" for label, last in known)
    return Gap(
        NoData.STALE,
        f"The last data came for {when}, longer ago than the {stale_after.total_seconds():g} s allowed: check that "
        "the service runs, still asks for the flag, and that its telemetry arrives.",
    )


def _no_traffic(since: str) -> str:
    return f"The metric answers, but counts nobody since {since}: check that the service gets requests."


def _unknown_labels(strangers: Sequence[str | None], control: str, treatment: str) -> Gap:
    more = f" and {len(strangers) - SHOWN_LABELS} more" if len(strangers) > SHOWN_LABELS else ""
    names = _quoted([str(label) for label in strangers[:SHOWN_LABELS]]) + more
    return Gap(
        NoData.UNKNOWN_LABEL,
        f"The data names {names}, which is neither {_short(control)} nor {_short(treatment)}: make the service's "
        "labels and the flag's variants the same, or leave such rows out of the metric's query.",
    )


def _exposures(reading: Reading, label: str | None) -> int:
    sample = reading.by_variant.get(label)
    return 0 if sample is None else sample.exposures


def _later(before: datetime | None, at: datetime, was_seen: bool) -> datetime | None:
    if not was_seen:
        return before
    return at if before is None else max(before, at)


def _is_old(moment: datetime | None, now: datetime, stale_after: timedelta) -> bool:
    return moment is None or now - moment > stale_after


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(_short(label) for label in labels)


def _short(label: str) -> str:
    return repr(label if len(label) <= SHOWN_LABEL else f"{label[: SHOWN_LABEL - 1]}…")
