"""A guardrail as the card shows it: the value against its limit, the evidence, the sample, the age of the data."""

import math
from datetime import datetime

from bot import texts
from bot.blocks.mrkdwn import escape
from tools.gates import CountTest, Direction, Harm, Outcome, Verdict
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Guardrail, OnFail
from tools.rollouts.judging import Numbers

SAFE_NEEDED = round(1 / CountTest.alpha_safe)
HARM_WORTH_SHOWING = 3.0
CELLS = 10


def judgement(guardrail: Guardrail, verdict: Verdict) -> str:
    """The guardrail's name and what is known, with a glyph: `✔ *errors* proven safe`."""
    glyph, said = _judged_split(verdict) if guardrail.of_split else judged(verdict)
    return f"{glyph} *{escape(guardrail.metric, 80)}* {said}"


def value(guardrail: Guardrail, verdict: Verdict, numbers: Numbers, *, against_ceiling: bool) -> str:
    """Treatment's rate, mean or latency and the limit it is held against; why not, when nothing could be measured."""
    if verdict.outcome in (Outcome.NO_DATA, Outcome.ERROR):
        return f">{escape(verdict.why, 300)}"
    if numbers.kind is MetricKind.ASSIGNMENTS:
        seen, planned = texts.rate(verdict.treatment_rate), texts.rate(verdict.control_rate)
        return texts.VALUE_OF_SPLIT.format(value=f"*{seen}*", limit=planned)
    sentence = texts.VALUE_AT_MOST if guardrail.direction is Direction.INCREASE else texts.VALUE_AT_LEAST
    control = verdict.control_rate if verdict.lately is None else verdict.lately[1]
    limit = _limit(guardrail, control, numbers, against_ceiling=against_ceiling)
    said = sentence.format(value=f"*{_seen(verdict, numbers)}*", limit=limit)
    return said if verdict.lately is None else texts.VALUE_LATELY.format(value=said)


def evidence(verdict: Verdict, guardrail: Guardrail | None = None, *, accepted: bool = False) -> list[str]:
    """How far the proofs are: one line for safety, one for harm when there is any worth a word.

    A split is as planned or not: there is no evidence that it is safe.
    """
    if verdict.outcome in (Outcome.NO_DATA, Outcome.ERROR):
        return []
    lines = []
    if verdict.harm is not Harm.NONE or verdict.harm_e >= HARM_WORTH_SHOWING:
        accepting = texts.EVIDENCE_ACCEPTED.format(have=texts.evidence(verdict.harm_e))
        lines.append(accepting if accepted else _harm(verdict, guardrail))
    if verdict.harm is Harm.NONE and not (guardrail is not None and guardrail.of_split):
        bar = _evidence_bar(verdict.safe_e, SAFE_NEEDED)
        lines.append(texts.EVIDENCE_OF_SAFETY.format(bar=bar, have=texts.evidence(verdict.safe_e), needed=SAFE_NEEDED))
    return lines


def sample(guardrail: Guardrail, verdict: Verdict, newest: datetime | None, at: datetime) -> str:
    """The exposures counted so far, and how old the newest data was at the check."""
    have = texts.SAMPLE.format(have=texts.count(verdict.treatment_n), needed=texts.count(guardrail.min_sample))
    age = texts.DATA_NONE if newest is None else texts.DATA_AGE.format(age=texts.duration(at - newest))
    return f"{have} · {age}"


def _judged_split(verdict: Verdict) -> tuple[str, str]:
    """Of how users are split: nothing is proven safe, it is as planned or not."""
    if verdict.outcome is Outcome.PASS:
        return texts.GUARDRAIL_AS_PLANNED
    if verdict.outcome is Outcome.INCONCLUSIVE and verdict.harm is Harm.NONE:
        return texts.GUARDRAIL_TOO_FEW_TO_TELL
    return judged(verdict)


def judged(verdict: Verdict) -> tuple[str, str]:
    """A glyph, and what is known of a guardrail."""
    match verdict.outcome:
        case Outcome.PASS:
            return texts.GUARDRAIL_SAFE
        case Outcome.FAIL:
            return texts.GUARDRAIL_HARMFUL
        case Outcome.ERROR:
            return texts.GUARDRAIL_ERROR
        case Outcome.NO_DATA:
            glyph, said = texts.GUARDRAIL_NO_DATA
            kind = texts.NO_DATA_KINDS[verdict.no_data] if verdict.no_data is not None else texts.NOT_SAID
            return glyph, said.format(kind=kind)
        case Outcome.INCONCLUSIVE:
            return _undecided(verdict)


def _undecided(verdict: Verdict) -> tuple[str, str]:
    if verdict.harm is not Harm.NONE:
        return texts.GUARDRAIL_SUSPECTED
    if verdict.treatment_n == 0:
        return texts.GUARDRAIL_WARMING
    if verdict.safe_e < SAFE_NEEDED:
        return texts.GUARDRAIL_OPEN
    return texts.GUARDRAIL_TOO_FEW if verdict.treatment_n < verdict.min_sample else texts.GUARDRAIL_BAKING


def _harm(verdict: Verdict, guardrail: Guardrail | None) -> str:
    """The evidence of harm, and from where on something is done about it."""
    only_pauses = guardrail is not None and guardrail.on_fail is OnFail.PAUSE
    needed, sentence = verdict.rollback_from, texts.EVIDENCE_OF_HARM
    if needed is None or (only_pauses and verdict.pause_from is not None):
        needed, sentence = verdict.pause_from, texts.EVIDENCE_PAUSES
    shown = "?" if needed is None else texts.evidence(needed)
    return sentence.format(have=texts.evidence(verdict.harm_e), needed=shown)


def _seen(verdict: Verdict, numbers: Numbers) -> str:
    """What treatment was; of a histogram without sums only how it compares."""
    if verdict.treatment_rate is None and verdict.ratio is not None and numbers.kind is MetricKind.LATENCY:
        return texts.VALUE_TIMES_CONTROL.format(times=f"{verdict.ratio:.3g}")
    return _measured(verdict.treatment_rate if verdict.lately is None else verdict.lately[0], numbers)


def _measured(value: float | None, numbers: Numbers) -> str:
    return escape(texts.measured(value, numbers), 80)


def _limit(guardrail: Guardrail, control: float | None, numbers: Numbers, *, against_ceiling: bool) -> str:
    margin, more_is_harm = f"{guardrail.margin:g}", guardrail.direction is Direction.INCREASE
    if control is None:
        unknown = texts.LIMIT_TIMES_UNKNOWN if more_is_harm else texts.LIMIT_PART_OF_UNKNOWN
        return unknown.format(margin=margin)
    if against_ceiling:
        return _measured(control, numbers)
    sentence = texts.LIMIT_TIMES_CONTROL if more_is_harm else texts.LIMIT_PART_OF_CONTROL
    limit = control * guardrail.margin if more_is_harm else control / guardrail.margin
    return sentence.format(limit=_measured(limit, numbers), margin=margin, control=_measured(control, numbers))


def _evidence_bar(have: float, needed: float) -> str:
    """How far an e-value has come, on the scale on which evidence adds up: its logarithm."""
    share = math.log(max(have, 1.0)) / math.log(needed) if math.isfinite(have) else 1.0
    return bar(min(share, 1.0), CELLS)


def bar(share: float, cells: int) -> str:
    """A bar of `cells` for a share from 0 to 1: empty only at 0, full only at 1."""
    filled = cells if share >= 1 else 0 if share <= 0 else min(max(round(share * cells), 1), cells - 1)
    return "▰" * filled + "▱" * (cells - filled)
