"""Whatever comes back, and whatever was carried: a named verdict, no proof from it, and evidence that stays sound."""

import copy
import itertools
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tools.gates import Outcome
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Expected, Exposure, Guardrail, Level
from tools.rollouts.assessing import assess
from tools.rollouts.checks import Answer, Assessment, GuardrailInput, Inputs, VariantCounts
from tools.rollouts.judging import Numbers

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUCKETS = ((0.1, 60), (1.0, 35), (None, 5))
SUMS: dict[str, Any] = {"total": 40.0, "total_squares": 60.0}
KINDS: dict[str, tuple[Numbers, dict[str, Any]]] = {
    "rate": (Numbers(), {"events": 2}),
    "objective": (Numbers(objective=0.01), {"events": 2}),
    "mean": (Numbers(kind=MetricKind.MEAN, cap=100.0), {"total": 1000.0, "total_squares": 20_000.0}),
    "buckets": (Numbers(kind=MetricKind.LATENCY, buckets=(0.1, 1.0)), {"buckets": BUCKETS}),
    "sums": (Numbers(kind=MetricKind.LATENCY, buckets=(0.1, 1.0), sums=True), {"buckets": BUCKETS, **SUMS}),
    "split": (Numbers(kind=MetricKind.ASSIGNMENTS), {}),
}
WRONG = {
    "rate": [{"events": -1}, {"events": 101}, {"exposures": -5}, {"exposures": 10**16}, {"exposures": 10**200}],
    "mean": [{"total": math.nan}, {"total_squares": math.inf}, {"total": -1e300}, {"total": 1e5}, {"total_squares": 0}],
    "buckets": [{"buckets": ((0.2, 5),)}, {"buckets": ((0.1, -5),)}, {"buckets": ((math.nan, 5),)}],
    "sums": [{"total": 0.0}, {"total_squares": math.nan}, {"total": 1e9}, {"buckets": ((0.1, 10**400),)}],
    "split": [{"exposures": -1}, {"exposures": 10**13}, {"exposures": 10**400}],
}
WRONG["objective"] = WRONG["rate"]
LEVELS = {
    "mean": Level(mean=10.0, deviation=10.0),
    "buckets": Level(mean=-1.8, deviation=1.3, of_logs=True),
    "sums": Level(mean=0.4, deviation=0.7),
}
JUNK = (None, True, -1, 10**400, 1e308, math.inf, math.nan, "x", [], {}, [1], {"a": 1}, 1e-320, -3.5)


def arm(kind: str, variant: str, **wrong: Any) -> VariantCounts:
    return VariantCounts(**{"variant": variant, "exposures": 100, "events": 0, **KINDS[kind][1], **wrong})


def answer(kind: str, **wrong: Any) -> Answer:
    return Answer(metric=kind, query="", variants=(arm(kind, "old"), arm(kind, "new", **wrong)))


def look(kind: str, number: int, carried: dict[str, Any] | None, of: Answer) -> Assessment:
    """The check of that minute of a stage that need not bake."""
    start = START + timedelta(minutes=number)
    rail = Guardrail(metric=kind, margin=5.0, min_sample=1, of_split=kind == "split")
    item = GuardrailInput(
        guardrail=rail,
        key=kind,
        start=start,
        end=start + timedelta(minutes=1),
        whole=False,
        ceiling=None,
        carried=carried,
        expected=Expected(metric=kind, base_rate=0.02, quietest=100, busiest=300, level=LEVELS.get(kind)),
        numbers=KINDS[kind][0],
        weight=0.0 if kind == "split" else 0.5,
    )
    moments = {"stage_since": START, "burn_in_ends": START, "bake_ends": START, "stale_after": timedelta(minutes=2)}
    inputs = Inputs(
        at=item.end,
        stage=0,
        exposure=Exposure(percent=50),
        control="old",
        treatment="new",
        guardrails=(item,),
        **moments,
    )
    return assess(inputs, (of,))


def going(kind: str, minutes: int) -> dict[str, Any]:
    """What is carried after some minutes in which all was well."""
    carried: dict[str, Any] | None = None
    for number in range(minutes):
        carried = json.loads(json.dumps(look(kind, number, carried, answer(kind)).evidence[kind], allow_nan=False))
    assert carried is not None
    return carried


GOING = {kind: going(kind, 40) for kind in KINDS}


@pytest.mark.parametrize(("kind", "wrong"), [(kind, wrong) for kind in KINDS for wrong in WRONG[kind]])
def test_an_answer_that_cant_be_is_an_error_and_leaves_no_trace(kind: str, wrong: dict[str, Any]) -> None:
    for before in (None, GOING[kind]):
        kept = copy.deepcopy(before)
        found = look(kind, 40, before, answer(kind, **wrong))
        assert found.verdict.outcome is Outcome.ERROR
        assert found.evidence == ({} if kept is None else {kind: kept})
    good = look(kind, 40, GOING[kind], answer(kind))
    assert good.by_guardrail[0].outcome is Outcome.PASS, "it would have passed"


def paths(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [path, *(found for key, value in inner for found in paths(value, (*path, key)))]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_whatever_was_carried_a_check_comes_to_a_verdict(kind: str) -> None:
    for (*way, last), junk in itertools.product(paths(GOING[kind])[1:], JUNK):
        carried = copy.deepcopy(GOING[kind])
        place: Any = carried
        for key in way:
            place = place[key]
        place[last] = junk
        before = copy.deepcopy(carried)
        found = look(kind, 40, carried, answer(kind))
        json.dumps(found.verdict_json(), allow_nan=False)
        if found.verdict.outcome is Outcome.ERROR:
            assert repr(found.evidence[kind]) == repr(before), "it is left as it was found"


@pytest.mark.parametrize("damage", [[], "gone", 7])
async def test_carried_evidence_of_another_shape_is_an_error(damage: Any) -> None:
    house = Gatehouse.of([rate("errors")], stage_of(5, Guardrail(metric="errors")))
    await house.look({"errors": ((950, 10), (50, 0))})
    house.rollout.evidence["errors:live"] = damage
    found = await house.look({"errors": ((950, 10), (50, 0))})
    assert found.verdict.outcome is Outcome.ERROR
    assert "can't be read" in found.verdict.why
