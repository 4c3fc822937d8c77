"""What traffic is made of, from a plan's past to a rollout's checks: a change is said, and decides nothing."""

import copy
import json
import math
from datetime import timedelta
from typing import Any

import pytest

from bot.blocks.card import card
from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tests.unit.rollouts.test_planned_kinds import ERRORS as RATE
from tests.unit.rollouts.test_planned_kinds import Shop, opened
from tests.unit.rollouts.world import FLAG
from tools.gates import Outcome
from tools.metrics.catalogue import MetricKind
from tools.metrics.memory import Observation
from tools.plans.model import Audience, Expected, Guardrail, Part, Plan
from tools.rollouts import assessing, audit, checks, drifts
from tools.rollouts.decisions import Promote
from tools.rollouts.drifts import mix_test
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

REGIONS = rate("regions", kind=MetricKind.MIX)
RAIL = Guardrail(metric="errors", min_sample=50)
MADE_FOR = Expected(
    metric="regions",
    base_rate=None,
    quietest=500,
    busiest=2000,
    mix=(Part(segment="eu", share=0.35), Part(segment="us", share=0.45)),
    mix_spread=0.05,
)
GOOD = ((950, 10), (50, 0))
AS_PLANNED = {"eu": 350, "us": 450, "asia": 200}
MOVED = {"eu": 620, "us": 180, "asia": 200}


def gate(*, bake: float = 60) -> Gatehouse:
    stages = (stage_of(5, RAIL, bake=bake), stage_of(50, RAIL), stage_of(100, RAIL))
    return Gatehouse.of([rate("errors"), REGIONS], *stages, expected=(MADE_FOR,))


async def look(house: Gatehouse, mix: dict[str, int] | None, times: int = 1) -> checks.Assessment:
    for _ in range(times):
        at = house.at + timedelta(seconds=59)
        for segment, requests in (mix or {}).items():
            halves = ((house.plan.control, requests - requests // 20), (house.plan.treatment, requests // 20))
            seen = [Observation(variant, at, count, segment=segment) for variant, count in halves]
            house.source.add("regions", FLAG.flag, FLAG.environment, *seen)
        found = await house.look({"errors": GOOD})
    return found


def shown(view: RolloutView) -> str:
    """The card's text."""
    return json.dumps([block.to_dict() for block in card(view)], ensure_ascii=False)


def carried(house: Gatehouse) -> dict[str, Any]:
    kept: dict[str, Any] = house.rollout.evidence["regions:mix"]
    return kept


async def test_a_change_is_said_with_what_changed_and_decides_nothing() -> None:
    house = gate(bake=3000)
    as_planned = await look(house, AS_PLANNED, 5)
    [said] = as_planned.mixes
    assert (said.drifted, said.seen) == (False, True)
    assert said.why == (
        "By regions traffic is made of what the plan was made for: 0 % of requests changed their segment, 20 % may."
    )
    found = await look(house, MOVED, 20)
    [said] = found.mixes
    assert said.drifted
    assert said.why.startswith("By regions traffic is not made of what the plan was made for: 'eu' is ")
    assert ", planned 35 %; 'us' is " in said.why
    assert said.why in found.verdict.why
    assert found.verdict.drift == said.why
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    proven = await look(house, MOVED, 60)
    assert proven.verdict.outcome is Outcome.PASS
    assert isinstance(house.action(proven), Promote), "as any other drift, it holds nothing"


async def test_it_is_judged_alike_from_its_row_alone_and_rows_without_one_are_read() -> None:
    house = gate()
    await look(house, AS_PLANNED, 3)
    assert house.row is not None
    plain = copy.deepcopy(house.row.inputs)
    del plain["mixes"]
    answers = [checks.Answer.model_validate(one) for one in house.row.answers][:1]
    old = assessing.assess(checks.Inputs.model_validate(plain), answers)
    assert old.mixes == ()
    assert "mixes" not in old.verdict_json()


async def test_the_answer_keeps_the_planned_segments_and_the_largest_others() -> None:
    house = gate()
    await look(house, {**AS_PLANNED, **{f"tenant-{number:03}": 5 + number // 2 for number in range(200)}})
    assert house.row is not None
    answer = checks.Answer.model_validate(house.row.answers[1])
    segments = dict(answer.variants[1].sample.segments)
    assert set(segments) == {"eu", "us", "asia", *(f"tenant-{number}" for number in range(196, 200)), None}
    assert sum(segments.values()) == answer.variants[1].exposures


async def test_many_small_newcomers_are_found_together() -> None:
    house = gate()
    tenants = {f"tenant-{number:03}": 2 for number in range(300)}
    [said] = (await look(house, {**AS_PLANNED, **tenants}, 25)).mixes
    assert said.drifted
    assert "everything else is 5" in said.why


async def test_a_mix_that_can_not_be_read_is_said_and_the_gate_goes_on() -> None:
    house = gate()
    await look(house, AS_PLANNED, 3)
    before = carried(house)
    house.source.add("regions", FLAG.flag, FLAG.environment, Observation("old", house.at, -5, segment="moon"))
    found = await look(house, AS_PLANNED)
    [said] = found.mixes
    assert not said.seen
    assert said.why.startswith("What traffic is made of can't be seen: The query of the metric 'regions' is wrong")
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert carried(house) == before


@pytest.mark.parametrize("wrong", [-1, math.nan, 0.5, math.inf])
async def test_what_can_be_no_count_leaves_the_evidence(wrong: Any) -> None:
    house = gate()
    await look(house, AS_PLANNED, 3)
    before = carried(house)
    house.source.add("regions", FLAG.flag, FLAG.environment, Observation("old", house.at, wrong, segment="moon"))
    assert not (await look(house, AS_PLANNED)).mixes[0].seen
    assert carried(house) == before


async def test_silence_is_said_once_it_lasts() -> None:
    house = gate()
    await look(house, AS_PLANNED, 3)
    assert (await look(house, None)).mixes[0].seen
    [said] = (await look(house, None, 3)).mixes
    assert not said.seen
    assert "regions has counted no requests since 01 Mar 2026 12:03:00 UTC." in said.why


async def test_a_metric_that_is_no_mix_any_more_is_said() -> None:
    house = gate()
    await look(house, AS_PLANNED, 2)
    house.definitions = [rate("errors"), rate("regions")]
    house.forget()
    [said] = (await look(house, None)).mixes
    assert "regions is no mix any more" in said.why
    house.definitions = [rate("errors")]
    house.forget()
    [said] = (await look(house, None)).mixes
    assert not said.seen
    assert "regions" in said.why


async def test_evidence_that_is_damaged_starts_anew_and_is_named() -> None:
    house = gate()
    await look(house, MOVED, 20)
    house.rollout.evidence["regions:mix"]["mix"]["version"] = 99
    [said] = (await look(house, MOVED)).mixes
    assert said.why.endswith("What it was before is not counted.")
    house.rollout.evidence["regions:mix"]["until"] = "yesterday"
    assert not (await look(house, MOVED)).mixes[0].seen


@pytest.mark.parametrize("key", ["errors:live", "regions:mix"])
@pytest.mark.parametrize("damaged", [7, 1e308, "changed", [["changed"]], {"changed": 5}, {"changed": "yesterday"}])
async def test_what_is_damaged_of_what_had_drifted_stops_no_check(key: str, damaged: Any) -> None:
    house = gate()
    await look(house, MOVED, 20)
    house.rollout.evidence[key]["departed"] = damaged
    before = copy.deepcopy(house.rollout.evidence)
    found = await look(house, MOVED)
    said = found.verdict.why if key == "errors:live" else found.mixes[0].why
    assert "can't be read" in said
    assert (found.verdict.outcome is Outcome.ERROR) == (key == "errors:live")
    assert drifts.news(before, found) == ([], [])


async def test_odd_labels_are_data() -> None:
    house = gate()
    label = "<!channel> *eu*\n\u202e'); DROP TABLE" + "x" * 500
    [said] = (await look(house, {**AS_PLANNED, label: 5000}, 20)).mixes
    assert said.drifted
    assert said.why.isprintable()
    assert len(said.why) < 500
    assert len(json.dumps(carried(house))) < 2000


async def test_a_guardrail_that_becomes_a_mix_in_flight_passes_no_longer() -> None:
    house = gate()
    house.definitions = [rate("errors", kind=MetricKind.MIX), REGIONS]
    house.forget()
    found = await house.look(None)
    assert found.verdict.outcome is Outcome.ERROR
    assert "which guards nothing" in found.verdict.why


def test_the_range_is_wider_where_the_past_was() -> None:
    assert mix_test(MADE_FOR).tolerance == 0.2
    assert mix_test(MADE_FOR.model_copy(update={"mix_spread": 0.3})).tolerance == pytest.approx(0.45)
    assert mix_test(MADE_FOR.model_copy(update={"mix_spread": 1.0})).tolerance == 0.8


def test_a_plan_without_a_mix_has_the_hash_that_it_had() -> None:
    plain = Expected(metric="errors", base_rate=0.01, quietest=1, busiest=2).model_dump(mode="json")
    assert set(plain) == {"metric", "base_rate", "quietest", "busiest"}
    made = gate().plan
    assert Plan.model_validate(made.to_json()) == made


# -- the whole way: planned from the past, watched, told ---------------------------------------------------------------


async def test_planned_from_the_past_found_in_flight_told_once_and_over_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drifts, "SAID_AGAIN_AFTER", timedelta(minutes=5))
    async with opened(RATE, REGIONS) as shop:
        plan, _ = await shop.planned()
        [mix] = [one for one in plan.expected if one.mix]
        assert [(part.segment, part.share) for part in mix.mix] == [("us", 0.45), ("eu", 0.35), ("asia", 0.2)]
        assert mix.mix_spread < 0.001
        assert all(rail.metric != "regions" for stage in plan.stages for rail in stage.guardrails)
        staying = [
            stage.model_copy(update={"bake": timedelta(hours=4), "time_limit": timedelta(hours=8)})
            for stage in plan.stages[:1]
        ]
        view = await shop.started(plan.model_copy(update={"stages": tuple(staying)}))
        await shop.live(view.id, 5)
        assert "drift.found" not in await shop.world.kinds(view.id)
        shop.mix = (("us", 0.18), ("eu", 0.62), ("asia", 0.2))
        view = await shop.live(view.id, 15)
        [told] = [event for event in await shop.world.events(view.id) if event.kind == "drift.found"]
        assert "'eu' is " in told.payload["why"]
        assert "planned 35 %" in told.payload["why"]
        assert view.phase is Phase.PROGRESSING
        assert view.check is not None
        assert view.check.mixes[0].drifted
        assert "traffic is not made of what" in shown(view)
        shop.mix = Shop.mix
        view = await shop.live(view.id, 9)
        assert (await shop.world.kinds(view.id)).count("drift.found") == 1
        assert (await shop.world.kinds(view.id)).count("drift.over") == 1
        assert "traffic is not made of what" not in shown(view)
        assert (await audit.verify(shop.world.database)).faults == ()


async def test_without_a_past_a_mix_is_not_watched_and_that_is_said() -> None:
    async with opened(RATE, REGIONS) as shop:
        shop.mix = ()
        plan, notes = await shop.planned()
        assert not any(one.mix for one in plan.expected)
        assert any(
            note.startswith("What the traffic is made of is not watched by regions: it counted") for note in notes
        )


OF_ERRORS = Expected(metric="errors", base_rate=0.01, quietest=500, busiest=2000)


@pytest.mark.parametrize(
    ("audience", "treatment", "words"),
    [
        # 20 % of the 35 % that eu is.
        (Audience(regions=("eu",)), 70, None),
        (Audience(regions=("eu",)), 200, "Treatment's share of it is 20 %, above the 3.09 % to 14.8 %"),
        (Audience(regions=("eu",)), 10, "Treatment's share of it is 1 %, below the 3.09 % to 14.8 %"),
        # What part of the traffic it is isn't known.
        (Audience(regions=("moon",)), 200, None),
    ],
)
async def test_an_audience_gets_its_share_of_the_traffic_where_the_mix_tells_it(
    audience: Audience, treatment: int, words: str | None
) -> None:
    stage = stage_of(20, RAIL, bake=36_000, audience=audience)
    house = Gatehouse.of([rate("errors"), REGIONS], stage, expected=(OF_ERRORS, MADE_FOR))
    arms = ((1000 - treatment, (1000 - treatment) // 100), (treatment, treatment // 100))
    for _ in range(40):
        found = await house.look({"errors": arms})
    assert ("share" in found.verdict.drift) == (words is not None)
    assert words is None or words in found.verdict.drift
