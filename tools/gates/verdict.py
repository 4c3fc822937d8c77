"""What a gate says: one outcome, one readable sentence, and the numbers behind it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from tools.errors import InvalidInput

PAUSE_FROM, ROLLBACK_FROM = 20.0, 50.0
"""The evidence of harm, as an e-value, from which a guardrail that is alone pauses, and rolls back."""


class BadVerdict(InvalidInput):
    """A stored verdict can't be read."""


class Outcome(StrEnum):
    """The answer of a guardrail or of a gate; the members stand in order of severity."""

    PASS = "pass"  # noqa: S105  proven not worse than the margin: may be promoted
    INCONCLUSIVE = "inconclusive"  # neither proven yet: hold
    NO_DATA = "no_data"  # blind: `Verdict.no_data` says why
    ERROR = "error"  # the question could not be asked
    FAIL = "fail"  # proven harmful: roll back

    @property
    def severity(self) -> int:
        """0 for PASS up to 4 for FAIL."""
        return list(Outcome).index(self)


class NoData(StrEnum):
    """Why there is nothing to judge."""

    FLAG_NEVER_EVALUATED = "flag_never_evaluated"
    NO_TRAFFIC = "no_traffic"
    UNKNOWN_LABEL = "unknown_label"
    STALE = "stale"
    EMPTY = "empty"


class Harm(StrEnum):
    """How strong the evidence of harm is; the members stand in order of severity."""

    NONE = "none"
    SUSPECTED = "suspected"  # pause and tell
    PROVEN = "proven"  # the outcome is FAIL

    @property
    def severity(self) -> int:
        """0 for NONE up to 2 for PROVEN."""
        return list(Harm).index(self)


@dataclass(frozen=True)
class Verdict:
    """One judgement of one guardrail.

    Rates are events per exposure; `ratio` is treatment's rate over control's (or over the ceiling), compared within
    each interval. `harm_e` and `safe_e` are e-values: 1 says nothing, 20 is what chance alone reaches in at most one
    rollout in 20, however often it is looked at. `pause_from` and `rollback_from` are the `harm_e` from which this
    guardrail alone pauses and rolls back; None: whatever it shows, it doesn't. `treatment_n` and `control_n` are
    exposures after burn-in. `drift` says what is not as it was planned, in a sentence; it is part of `why` too.
    `ratio_range` are the bounds of a confidence sequence around `ratio`, for means and latencies. `lately` are
    treatment's and control's rates since a harm began, where it did not begin with the first exposures.
    """

    outcome: Outcome
    why: str
    harm: Harm = Harm.NONE
    no_data: NoData | None = None
    treatment_rate: float | None = None
    control_rate: float | None = None
    ratio: float | None = None
    margin: float | None = None
    harm_e: float = 1.0
    safe_e: float = 1.0
    treatment_n: int = 0
    control_n: int = 0
    treatment_events: int = 0
    control_events: int = 0
    min_sample: int = 0
    pause_from: float | None = PAUSE_FROM
    rollback_from: float | None = ROLLBACK_FROM
    drift: str = ""
    ratio_range: tuple[float, float] | None = None
    lately: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly; what is as usual is left out."""
        plain = asdict(self)
        if not self.drift:
            del plain["drift"]
        for name in ("ratio_range", "lately"):
            if plain[name] is None:
                del plain[name]
            else:
                plain[name] = list(plain[name])
        for name, usual in (("pause_from", PAUSE_FROM), ("rollback_from", ROLLBACK_FROM)):
            if plain[name] == usual:
                del plain[name]
        plain["outcome"], plain["harm"] = self.outcome.value, self.harm.value
        plain["no_data"] = self.no_data.value if self.no_data else None
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The verdict that `to_json` wrote. Raises BadVerdict for anything else."""
        try:
            reason = plain["no_data"]
            enums = {
                "outcome": Outcome(plain["outcome"]),
                "harm": Harm(plain["harm"]),
                "no_data": None if reason is None else NoData(reason),
            }
            pairs = {
                name: (float(plain[name][0]), float(plain[name][1]))
                for name in ("ratio_range", "lately")
                if plain.get(name) is not None
            }
            return cls(**{**plain, **pairs, **enums})
        except (LookupError, TypeError, ValueError) as error:
            raise BadVerdict(
                f"This stored verdict can't be read ({error}); judge the stored evidence again."
            ) from error


def amount(e_value: float) -> str:
    """An e-value for people, to three digits."""
    return "over a million" if e_value > 1e6 else f"{e_value:,.3g}" if e_value < 1000 else f"{e_value:,.0f}"


def no_data(reason: NoData, why: str) -> Verdict:
    """The verdict of a guardrail that is blind for `reason`; `why` is a sentence for a person."""
    return Verdict(Outcome.NO_DATA, why, no_data=reason)


def error(why: str) -> Verdict:
    """The verdict of a guardrail whose question could not be asked; `why` is a sentence for a person."""
    return Verdict(Outcome.ERROR, why)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gate's verdict: its guardrails' most severe one, the first of equals.

    A blind guardrail must not hide that another one suspects harm: then that one's harm and sentence are added.
    Raises ValueError when there are no verdicts, because a gate without guardrails proves nothing.
    """
    found = list(verdicts)
    if not found:
        raise ValueError("a gate without guardrails has no verdict")
    gravest = max(found, key=lambda verdict: (verdict.outcome.severity, verdict.harm.severity))
    alarmed = max(found, key=lambda verdict: verdict.harm.severity)
    if alarmed.harm.severity > gravest.harm.severity:
        return replace(gravest, harm=alarmed.harm, why=f"{gravest.why} Also: {alarmed.why}")
    return gravest
