"""What traffic is made of: when a change is found, when it is not, and that no label or number breaks it."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadCounts, BadEvidence, BadTest
from tools.gates.drift import MEMORY
from tools.gates.mix import (
    LARGEST_DIFFERENCE,
    LONGEST_LABEL,
    MOST_SEGMENTS,
    MOST_STRANGERS,
    MixDrift,
    MixEvidence,
    MixTest,
    folded,
    judge,
    update,
)

LABELS = ("eu", "us", "asia")
PLANNED = MixTest((("eu", 0.35), ("us", 0.3), ("asia", 0.2)))
"""What is left are 15 % of small segments."""
AS_PLANNED = {"eu": 35, "us": 30, "asia": 20, "small": 15}


def after(minutes: int, counts: dict[str, int], evidence: MixEvidence | None = None, others: int = 0) -> MixEvidence:
    found = evidence or MixEvidence.start(PLANNED)
    for _ in range(minutes):
        found = update(PLANNED, found, 1.0, counts, others)
    return found


def verdict(evidence: MixEvidence) -> MixDrift:
    return judge(PLANNED, evidence)


def test_a_mix_as_planned_has_not_drifted() -> None:
    found = verdict(after(300, AS_PLANNED))
    assert found == MixDrift(distance=pytest.approx(0.0, abs=1e-9))
    assert not found.is_found
    assert found.why == ""


def test_a_change_is_found_within_a_quarter_of_an_hour_and_named() -> None:
    moved = {"eu": 65, "us": 0, "asia": 20, "small": 15}
    assert not verdict(after(10, moved)).is_found
    found = verdict(after(20, moved))
    assert (found.changed, found.newcomers) == (True, False)
    assert found.why == "'eu' is 65 % of requests, planned 35 %; 'us' is 0 % of requests, planned 30 %"
    assert found.distance == pytest.approx(0.3, abs=0.01)


def test_a_segment_that_vanished_is_a_change() -> None:
    gone = verdict(after(30, {"us": 46, "asia": 31, "small": 23}))
    assert gone.changed
    assert "'eu' is 0 % of requests, planned 35 %" in gone.why


def test_what_no_plan_names_is_new() -> None:
    found = verdict(after(30, {"eu": 26, "us": 23, "asia": 15, "small": 11, "moon": 25}))
    assert found.newcomers
    assert "'moon' is 25 % of requests, which the plan does not name" in found.why
    unnamed = verdict(after(30, {"eu": 26, "us": 23, "asia": 15}, others=36))
    assert "everything else is 36 % of requests, planned 15 %" in unnamed.why


def test_a_change_within_the_tolerance_is_none() -> None:
    assert not verdict(after(600, {"eu": 53, "us": 13, "asia": 19, "small": 15})).is_found
    assert not verdict(after(600, {"eu": 35, "us": 30, "asia": 20, "moon": 15})).is_found


def test_when_it_is_over_that_is_seen_as_soon() -> None:
    drifted = after(60, {"eu": 65, "asia": 20, "small": 15})
    assert verdict(drifted).is_found
    assert verdict(after(5, AS_PLANNED, drifted)).is_found is False


def test_it_is_found_as_soon_after_a_long_time_as_planned_and_at_any_pace() -> None:
    for times in (1, 1000):
        calm = after(600, {label: times * count for label, count in AS_PLANNED.items()})
        moved = {label: times * count for label, count in {"eu": 70, "asia": 15, "small": 15}.items()}
        assert verdict(after(20, moved, calm)).changed


def test_it_is_over_also_where_all_of_a_large_segment_comes() -> None:
    """Who is over its share then can't be beyond it by the tolerance."""
    test = MixTest((("big", 0.85), ("small", 0.1)))
    evidence = MixEvidence.start(test)
    for counts in [{"big": 40, "small": 60}] * 30:
        evidence = update(test, evidence, 1.0, counts)
    assert judge(test, evidence).changed
    for counts in [{"big": 100}] * 30:
        evidence = update(test, evidence, 1.0, counts)
    assert not judge(test, evidence).is_found


def test_what_comes_in_bursts_speaks_less() -> None:
    calm = after(1, AS_PLANNED)
    few = {"eu": 1, "small": 1}
    single = update(PLANNED, calm, 1.0, few)
    tenfold = update(PLANNED, replace(calm, differences=(99.0, 9.0)), 1.0, few)
    assert replace(calm, differences=(99.0, 9.0)).dispersion == 10
    assert tenfold.newcomers == pytest.approx(single.newcomers / 10)
    eastward = replace(calm, of_late=(50.0, 10.0, 20.0, 20.0))
    single, tenfold = (
        update(PLANNED, replace(eastward, differences=seen), 1.0, few) for seen in ((0.0, 0.0), (99.0, 9.0))
    )
    assert single.changed > 0
    assert tenfold.changed == pytest.approx(single.changed / 10)


def test_one_jump_is_not_taken_for_bursts() -> None:
    """However many requests it is of: else what came at once would be found the latest."""
    calm = after(100, {label: 10_000 * count for label, count in AS_PLANNED.items()})
    jumped = after(1, {"eu": 900_000, "small": 100_000}, calm)
    assert calm.dispersion == pytest.approx(1.0, abs=0.1)
    assert jumped.differences[0] == pytest.approx(calm.differences[0] * math.exp(-1 / MEMORY) + LARGEST_DIFFERENCE)
    assert 1.2 < jumped.dispersion < 5


def test_silence_says_nothing() -> None:
    assert verdict(after(100, {})) == MixDrift()
    drifted = after(60, {"eu": 100})
    assert verdict(after(20, {}, drifted)).is_found in (True, False)
    assert update(PLANNED, drifted, 0.0, {"eu": 5}) == drifted


@pytest.mark.parametrize("burst", [1, 30])
def test_a_mix_at_the_edge_of_its_range_is_next_to_never_called_changed(burst: int) -> None:
    """Also where users send dozens of requests each: twelve hours, looked at each half minute."""
    rng, edge = np.random.default_rng(5), [0.55, 0.1, 0.2, 0.15]
    for _ in range(2):
        evidence = MixEvidence.start(PLANNED)
        for users in rng.multinomial(rng.poisson(300 / burst, 1440), edge).tolist():
            counts = dict(zip((*LABELS, "small"), (burst * count for count in users), strict=True))
            evidence = update(PLANNED, evidence, 0.5, counts)
            assert not verdict(evidence).is_found
        assert evidence.dispersion == pytest.approx(burst, rel=0.6)


def test_evidence_is_small_and_comes_back_exactly() -> None:
    names = [f"{number:02}-{'x' * 80}" for number in range(MOST_SEGMENTS)]
    test = MixTest(tuple((name, 0.045) for name in names))
    evidence = MixEvidence.start(test)
    for _ in range(40):
        evidence = update(test, evidence, 0.25, {**dict.fromkeys(names, 123), **{f"new-{i}": 7 + i for i in range(99)}})
    plain = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(plain) < 1500
    assert MixEvidence.from_json(json.loads(plain), test) == evidence
    assert len(evidence.strangers) == MOST_STRANGERS


def test_evidence_of_another_mix_is_refused() -> None:
    other = replace(PLANNED, tolerance=0.3)
    with pytest.raises(BadEvidence, match="of another mix than is planned"):
        MixEvidence.from_json(after(3, AS_PLANNED).to_json(), other)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"planned": ()}, "names 1 to 20 segments, not 0"),
        ({"planned": tuple((str(i), 0.01) for i in range(21))}, "not 21"),
        ({"planned": (("eu", 0.5), ("eu", 0.2))}, "a segment twice"),
        ({"planned": (("eu", 0.9), ("us", 0.2))}, "add up to 1"),
        ({"planned": (("eu", math.nan),)}, "above 0"),
        ({"tolerance": 0.0}, "tolerance must be"),
        ({"newcomers": math.nan}, "newcomers must be"),
        ({"alpha": 1.0}, "alpha must lie"),
    ],
)
def test_what_is_no_test_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadTest, match=says):
        MixTest(**{"planned": PLANNED.planned, **changes})


labels = st.one_of(st.sampled_from([*LABELS, "small", ""]), st.text(max_size=90))
impossible = st.one_of(
    st.integers(max_value=-1), st.sampled_from([math.nan, math.inf, 3.0, None, "7", True, 10**12 + 1, [1]])
)


@given(labels, impossible)
def test_what_cant_have_been_counted_is_refused_and_leaves_the_evidence(label: str, count: Any) -> None:
    before = after(5, AS_PLANNED)
    kept = json.dumps(before.to_json())
    with pytest.raises(BadCounts, match="whole number from 0 on"):
        update(PLANNED, before, 1.0, {**AS_PLANNED, label: count})
    with pytest.raises(BadCounts):
        update(PLANNED, before, 1.0, {}, count)
    with pytest.raises(BadTest):
        update(PLANNED, before, math.nan, AS_PLANNED)
    assert json.dumps(before.to_json()) == kept


@given(
    st.lists(
        st.tuples(st.dictionaries(labels, st.integers(0, 10**9), max_size=30), st.integers(0, 10**9)), max_size=12
    ),
    st.sampled_from([0.25, 1.0, 300.0]),
)
def test_whatever_comes_the_evidence_stays_sound_and_the_sentence_short(
    intervals: list[tuple[dict[str, int], int]], minutes: float
) -> None:
    evidence = MixEvidence.start(PLANNED)
    for counts, others in intervals:
        evidence = update(PLANNED, evidence, minutes, counts, others)
        again = MixEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False)), PLANNED)
        assert again == evidence
        found = verdict(evidence)
        assert 0 <= found.distance <= 1 + 1e-9
        assert len(found.why) <= 5 * (10 * LONGEST_LABEL + 60)
        assert found.why.isprintable()


damaged = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@given(st.sampled_from(sorted(MixEvidence.start(PLANNED).to_json())), damaged)
def test_damaged_evidence_is_refused_or_sound(field: str, value: Any) -> None:
    plain = {**after(5, AS_PLANNED).to_json(), field: value}
    try:
        read = MixEvidence.from_json(plain, PLANNED)
    except BadEvidence:
        return
    verdict(update(PLANNED, read, 1.0, AS_PLANNED))


def test_of_many_segments_the_planned_and_the_largest_are_kept() -> None:
    counts = [("eu", 3), ("eu", 4), *((f"new-{number}", number) for number in range(50))]
    kept, rest = folded(counts, LABELS)
    assert dict(kept) == {"eu": 7, **{f"new-{number}": number for number in range(45, 50)}}
    assert rest == sum(range(45))
