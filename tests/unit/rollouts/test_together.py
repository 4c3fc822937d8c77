"""Several guardrails are one gate: they share its level, and what none shows alone they show together."""

from dataclasses import replace

import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, assignments, rate, stage_of
from tools.gates import Direction, Harm, Outcome
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.model import Guardrail, OnFail
from tools.rollouts import assessing, checks
from tools.rollouts.decisions import Pause, Promote, RollBack
from tools.rollouts.whatif import Replay

FIVE = ("carts", "logins", "orders", "searches", "uploads")
GOOD, WORSE = ((950, 10), (50, 0)), ((950, 10), (50, 1))
REVENUE = MetricDefinition(
    name="revenue",
    source="memory",
    title="Revenue",
    query="-",
    kind=MetricKind.MEAN,
    cap=100.0,
    direction=Direction.DECREASE,
)
LATENCY = MetricDefinition(
    name="latency", source="memory", title="Latency", query="-", kind=MetricKind.LATENCY, buckets=(0.1, 1.0)
)


def rails(*metrics: str, **more: object) -> tuple[Guardrail, ...]:
    return tuple(
        Guardrail(metric=metric, min_sample=50, of_split=metric == "split").model_copy(update=more)
        for metric in metrics
    )


def gate(*metrics: str, **more: object) -> Gatehouse:
    return Gatehouse.of([rate(metric) for metric in metrics], stage_of(5, *rails(*metrics, **more)))


def weights_of(house: Gatehouse) -> dict[str, float]:
    assert house.row is not None
    return {item.guardrail.metric: item.weight for item in checks.Inputs.model_validate(house.row.inputs).guardrails}


async def test_the_level_is_shared_by_all_of_the_plan_in_every_stage() -> None:
    definitions = [rate("errors"), REVENUE, LATENCY, assignments()]
    first = stage_of(5, *rails("errors", "split"))
    house = Gatehouse.of(definitions, first, stage_of(25, *rails("errors", "revenue", "latency", "split")))
    found = await house.look({"errors": GOOD})
    assert weights_of(house) == {"errors": pytest.approx(1 / 3), "split": 0}
    assert (found.by_guardrail[0].pause_from, found.by_guardrail[0].rollback_from) == (60, 150)
    house.enter(1)
    await house.look({"errors": GOOD})
    assert weights_of(house) == {
        "errors": pytest.approx(1 / 3),
        "revenue": pytest.approx(1 / 3),
        "latency": pytest.approx(1 / 3),
        "split": 0,
    }


async def test_a_harm_in_all_is_caught_where_none_alone_shows_it() -> None:
    house, paused = gate(*FIVE), False
    for _ in range(300):
        found = await house.look(dict.fromkeys(FIVE, ((950, 10), (50, 2))))
        if found.verdict.outcome is Outcome.FAIL:
            break
        paused = paused or isinstance(house.action(found), Pause)
    assert paused
    assert max(verdict.harm_e for verdict in found.by_guardrail) < 250
    assert "by 5 guardrails together" in found.verdict.why
    assert "pauses from 20, rolls back from 50" in found.verdict.why
    assert isinstance(house.action(found), RollBack)


async def test_what_may_only_pause_never_helps_to_roll_back() -> None:
    house = Gatehouse.of(
        [rate(metric) for metric in FIVE],
        stage_of(5, *rails(*FIVE[:4], on_fail=OnFail.PAUSE), *rails(FIVE[4])),
    )
    actions = []
    for _ in range(40):
        found = await house.look({**dict.fromkeys(FIVE[:4], ((950, 10), (50, 5))), FIVE[4]: GOOD})
        actions.append(house.action(found))
    assert found.verdict.outcome is Outcome.FAIL
    assert any(isinstance(action, Pause) for action in actions)
    assert not any(isinstance(action, RollBack) for action in actions)


async def test_with_suspicion_in_sight_nothing_is_promoted() -> None:
    house = gate("orders", "carts")
    await house.looks(60, {"orders": GOOD, "carts": GOOD})
    proven = await house.look({"orders": GOOD, "carts": GOOD})
    assert isinstance(house.action(proven), Promote)
    for _ in range(300):
        found = await house.look({"orders": ((1900, 20), (100, 2)), "carts": GOOD})
        if found.verdict.harm is Harm.SUSPECTED:
            break
    assert found.verdict.harm is Harm.SUSPECTED
    assert found.verdict.outcome is not Outcome.PASS
    assert isinstance(house.action(found), Pause)


async def test_what_people_accepted_of_all_together_pauses_no_second_time() -> None:
    house = gate(*FIVE)
    for _ in range(300):
        found = await house.look(dict.fromkeys(FIVE, ((950, 10), (50, 2))))
        if isinstance(house.action(found), Pause):
            break
    assert all(verdict.harm is Harm.SUSPECTED for verdict in found.by_guardrail)
    assert house.row is not None
    house.rollout.harm_accepted = checks.harm_by_metric(house.row)
    # Another one is foremost now; that is no news.
    found = await house.look({**dict.fromkeys(FIVE, ((950, 10), (50, 1))), FIVE[3]: ((950, 10), (50, 2))})
    assert found.verdict.harm is Harm.SUSPECTED
    assert not isinstance(house.action(found), Pause)


async def test_blind_guardrails_keep_their_part_of_the_evidence() -> None:
    house = gate(*FIVE)
    numbers = dict.fromkeys(FIVE, ((1900, 20), (100, 2)))
    found = await house.look(numbers)
    while found.verdict.harm is Harm.NONE:
        found = await house.look(numbers)
    before = [verdict.harm_e for verdict in found.by_guardrail]
    # Two metrics fail, two are silent: the rest alone would suspect nothing.
    broken = dict.fromkeys(FIVE[:2], (None, -1))
    found = await house.looks(4, {**broken, FIVE[4]: ((1900, 20), (100, 2))})
    assert [verdict.outcome for verdict in found.by_guardrail[:2]] == [Outcome.ERROR] * 2
    assert [verdict.outcome for verdict in found.by_guardrail[2:4]] == [Outcome.NO_DATA] * 2
    assert [verdict.harm_e for verdict in found.by_guardrail[:4]] == pytest.approx(before[:4])
    assert found.verdict.outcome is Outcome.ERROR
    assert found.verdict.harm is Harm.SUSPECTED
    for _ in range(100):
        found = await house.look({**broken, FIVE[4]: ((1900, 20), (100, 2))})
        if found.verdict.outcome is Outcome.FAIL:
            break
    assert found.verdict.outcome is Outcome.FAIL
    assert found.by_guardrail[4].harm_e < 250


async def test_a_plan_revised_in_flight_shares_among_more_and_gives_nothing_back() -> None:
    house = Gatehouse.of([rate(metric) for metric in FIVE], stage_of(5, *rails(*FIVE[:2])))
    before = await house.looks(10, dict.fromkeys(FIVE, WORSE))
    assert weights_of(house) == dict.fromkeys(FIVE[:2], 0.5)
    house.plan = house.plan.model_copy(update={"stages": (stage_of(5, *rails(*FIVE)),)})
    found = await house.look(dict.fromkeys(FIVE, WORSE))
    assert weights_of(house) == dict.fromkeys(FIVE, 0.2)
    assert found.by_guardrail[0].rollback_from == 250
    assert found.by_guardrail[0].treatment_n == before.by_guardrail[0].treatment_n + 50
    assert "another test" not in found.by_guardrail[0].why
    house.plan = house.plan.model_copy(update={"stages": (stage_of(5, *rails(FIVE[0])),)})
    await house.look(dict.fromkeys(FIVE, WORSE))
    assert weights_of(house) == {FIVE[0]: 0.2}


async def test_a_metric_that_the_catalogue_lost_keeps_its_part() -> None:
    house = gate(*FIVE[:2])
    await house.look(dict.fromkeys(FIVE[:2], GOOD))
    house.definitions = house.definitions[:1]
    found = await house.look()
    assert weights_of(house) == dict.fromkeys(FIVE[:2], 0.5)
    assert found.by_guardrail[1].outcome is Outcome.ERROR


@pytest.mark.parametrize("damage", [{"weight": "much"}, {"weight": -1}, {"weight": None}, {"harm_e": "some"}])
async def test_damaged_parts_count_as_none(damage: dict[str, object]) -> None:
    house = gate(*FIVE)
    await house.looks(3, dict.fromkeys(FIVE, WORSE))
    house.rollout.evidence["orders:live"].update(damage)
    found = await house.look({**dict.fromkeys(FIVE, WORSE), "orders": (None, -1)})
    assert weights_of(house) == dict.fromkeys(FIVE, 0.2)
    assert found.by_guardrail[2].outcome is Outcome.ERROR
    assert found.by_guardrail[2].harm_e == pytest.approx(1.0 if "harm_e" in damage else found.by_guardrail[2].harm_e)


async def test_a_guardrail_that_is_alone_is_judged_and_stored_as_ever() -> None:
    house = gate("errors")
    found = await house.looks(3, {"errors": WORSE})
    assert house.row is not None
    assert "weight" not in house.row.inputs["guardrails"][0]
    assert not house.row.evidence["errors:live"].keys() & {"weight", "harm_e", "budget"}
    assert (found.verdict.pause_from, found.verdict.rollback_from) == (20, 50)


async def test_rows_of_an_earlier_release_are_judged_as_they_were() -> None:
    """Each guardrail had the whole level there, and stood alone."""
    house = gate(*FIVE)
    numbers = dict.fromkeys(FIVE, ((950, 10), (50, 2)))
    found = await house.look(numbers)
    while found.verdict.harm is Harm.NONE:
        found = await house.look(numbers)
    assert house.row is not None
    inputs = checks.Inputs.model_validate(house.row.inputs)
    for item in house.row.inputs["guardrails"]:
        del item["weight"]
        for added in ("weight", "harm_e"):
            del item["carried"][added]
    old = assessing.judge_again(house.row)
    assert [verdict.rollback_from for verdict in old.by_guardrail] == [50] * 5
    assert all("together" not in verdict.why for verdict in old.by_guardrail)
    assert old.evidence.keys() == found.evidence.keys()
    # What it left is read by this release, and shared from then on.
    late = [item.model_copy(update={"carried": old.evidence[item.key]}) for item in inputs.guardrails]
    answers = [checks.Answer.model_validate(plain) for plain in house.row.answers]
    again = assessing.assess(inputs.model_copy(update={"guardrails": tuple(late)}), answers)
    assert all("another test" not in verdict.why for verdict in again.by_guardrail)
    assert again.by_guardrail[0].rollback_from == 250
    assert replace(again.by_guardrail[0], why="").harm_e > old.by_guardrail[0].harm_e


async def test_what_another_margin_would_have_meant_is_told_of_all_together() -> None:
    house, same, wider = gate(*FIVE), Replay("orders", 2.0), Replay("orders", 3.0)
    for _ in range(30):
        found = await house.look(dict.fromkeys(FIVE, ((1900, 20), (100, 2))))
        assert house.row is not None
        for replay in (same, wider):
            replay.judge(house.row.inputs, house.row.answers, house.row.verdict)
        if found.verdict.outcome is Outcome.FAIL:
            break
    assert found.verdict.outcome is Outcome.FAIL
    assert same.would == same.was
    assert same.would[0].suspected is not None
    assert wider.would[0].suspected is not None
