"""When a metric can't be seen: each kind, its sentence, and what holds for all."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import NoData
from tools.metrics.base import Reading, Sample
from tools.metrics.quality import BOTH, Arm, Gap, Seen, find_gap, quiet_arm

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STALE_AFTER = timedelta(seconds=60)
TREATMENT_ALONE = frozenset({Arm.TREATMENT})


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def reading(newest_s: float | None = None, **exposures: int) -> Reading:
    """Exposures by label, `nobody` for rows without a variant."""
    samples = {None if label == "nobody" else label: Sample(count) for label, count in exposures.items()}
    return Reading(samples, "SELECT", None if newest_s is None else at(newest_s))


class Watch:
    """Looks one after the other, as the controller makes them."""

    def __init__(self, expected: frozenset[Arm] = BOTH) -> None:
        self.seen = Seen(since=NOON)
        self.expected = expected

    def look(self, seconds: float, answer: Reading) -> Gap | None:
        now = at(seconds)
        self.seen = Seen.model_validate_json(
            self.seen.after(answer, control="control", treatment="treatment", now=now).model_dump_json()
        )
        return find_gap(
            answer,
            self.seen,
            control="control",
            treatment="treatment",
            now=now,
            stale_after=STALE_AFTER,
            expected=self.expected,
        )


def kind(gap: Gap | None) -> NoData | None:
    return None if gap is None else gap.kind


def test_both_arms_are_no_gap() -> None:
    assert Watch().look(5, reading(control=95, treatment=5)) is None


def test_an_empty_window_is_no_gap_until_it_has_lasted() -> None:
    watch = Watch()
    assert watch.look(60, reading()) is None
    gap = watch.look(61, reading())
    assert kind(gap) is NoData.EMPTY
    assert gap is not None
    assert "no rows at all since 2026-03-01 12:00:00 UTC" in gap.sentence


def test_a_small_share_may_skip_windows() -> None:
    watch = Watch()
    for second in range(5, 600, 5):
        share = {"treatment": 1} if second % 50 == 0 else {}
        assert watch.look(second, reading(control=20, **share)) is None


def test_an_arm_that_skips_no_window_is_quiet_at_the_first_that_it_skips() -> None:
    watch = Watch()
    watch.look(10, reading(control=95))
    assert quiet_arm(watch.seen) is Arm.TREATMENT
    for second in range(20, 100, 10):
        watch.look(second, reading(control=95, treatment=5))
        assert quiet_arm(watch.seen) is None
    assert watch.look(100, reading(control=95)) is None
    assert quiet_arm(watch.seen) is Arm.TREATMENT
    assert quiet_arm(watch.seen, expected=frozenset({Arm.CONTROL})) is None
    watch.look(110, reading(treatment=5))
    assert quiet_arm(watch.seen) is Arm.CONTROL


def test_an_arm_is_quiet_only_for_longer_than_it_was_before() -> None:
    """A source that delivers once a minute is asked every ten seconds."""
    watch, quiet = Watch(), list[float]()
    for second in range(10, 610, 10):
        came = reading(control=95, treatment=5) if second % 60 == 0 and second <= 480 else reading()
        watch.look(second, came)
        if second > 120 and quiet_arm(watch.seen) is not None:
            quiet.append(second)
    assert quiet == [*range(540, 610, 10)]


def test_control_alone_means_that_the_flag_is_not_asked_for() -> None:
    watch = Watch()
    assert watch.look(60, reading(control=100)) is None
    gap = watch.look(65, reading(control=100, nobody=5))
    assert kind(gap) is NoData.FLAG_NEVER_EVALUATED
    assert gap is not None
    assert "Only 'control' has data" in gap.sentence


def test_rows_without_a_variant_alone_mean_that_the_flag_is_not_asked_for() -> None:
    watch = Watch()
    gap = watch.look(61, reading(nobody=100))
    assert kind(gap) is NoData.FLAG_NEVER_EVALUATED
    assert gap is not None
    assert "none of it names a variant" in gap.sentence


def test_treatment_alone_has_nothing_to_be_compared_with() -> None:
    gap = Watch().look(61, reading(treatment=100))
    assert kind(gap) is NoData.NO_TRAFFIC
    assert gap is not None
    assert "nothing to compare with" in gap.sentence


def test_at_full_exposure_treatment_alone_is_enough() -> None:
    watch = Watch(TREATMENT_ALONE)
    assert watch.look(61, reading(treatment=100)) is None
    assert kind(watch.look(122, reading())) is NoData.STALE


def test_rows_that_count_nobody_are_no_traffic() -> None:
    gap = Watch().look(61, reading(control=0, treatment=0))
    assert kind(gap) is NoData.NO_TRAFFIC
    assert gap is not None
    assert "counts nobody" in gap.sentence


def test_traffic_that_ends_while_the_source_goes_on_is_no_traffic() -> None:
    watch = Watch()
    watch.look(10, reading(control=95, treatment=5))
    assert watch.look(70, reading(control=0)) is None
    gap = watch.look(71, reading(control=0))
    assert kind(gap) is NoData.NO_TRAFFIC
    assert gap is not None
    assert "since 2026-03-01 12:00:10 UTC" in gap.sentence


def test_data_that_stops_is_stale() -> None:
    watch = Watch()
    watch.look(10, reading(control=95, treatment=5))
    assert watch.look(70, reading()) is None
    gap = watch.look(71, reading())
    assert kind(gap) is NoData.STALE
    assert gap is not None
    assert "'control' at 2026-03-01 12:00:10 UTC and 'treatment' at" in gap.sentence
    assert "60 s" in gap.sentence


def test_one_arm_that_stops_is_stale_by_name() -> None:
    watch = Watch()
    watch.look(10, reading(control=95, treatment=5))
    gap = watch.look(71, reading(control=95))
    assert kind(gap) is NoData.STALE
    assert gap is not None
    assert "'treatment' at" in gap.sentence
    assert "'control'" not in gap.sentence


def test_an_answer_that_only_repeats_old_samples_is_stale() -> None:
    watch = Watch()
    for second in range(10, 71, 5):
        assert watch.look(second, reading(10, control=95, treatment=5)) is None
    assert kind(watch.look(75, reading(10, control=95, treatment=5))) is NoData.STALE


def test_a_sample_from_the_future_does_not_hide_silence() -> None:
    watch = Watch()
    watch.look(10, reading(100_000, control=95, treatment=5))
    assert kind(watch.look(71, reading())) is NoData.STALE


def test_data_that_comes_back_ends_the_gap() -> None:
    watch = Watch()
    assert kind(watch.look(61, reading())) is NoData.EMPTY
    assert watch.look(66, reading(control=95, treatment=5)) is None


@pytest.mark.parametrize("others", [{}, {"control": 95, "treatment": 5}])
def test_a_label_of_neither_arm_is_told_at_once(others: dict[str, int]) -> None:
    gap = Watch().look(5, reading(on=3, **others))
    assert kind(gap) is NoData.UNKNOWN_LABEL
    assert gap is not None
    assert "names 'on', which is neither 'control' nor 'treatment'" in gap.sentence


def test_a_label_that_counts_nobody_is_no_stranger() -> None:
    assert Watch().look(5, reading(on=0, control=95, treatment=5)) is None


def test_many_or_long_strange_labels_are_cut_short() -> None:
    strangers = {f"{n}" + "x" * 100: 1 for n in range(8)}
    gap = Watch().look(5, reading(**strangers))
    assert gap is not None
    assert "and 3 more" in gap.sentence
    assert len(gap.sentence) < 600


labels = st.sampled_from([None, "control", "treatment", "on", ""])
readings = st.builds(
    Reading,
    by_variant=st.dictionaries(labels, st.builds(Sample, st.integers(0, 3))),
    query=st.just("SELECT"),
    newest=st.one_of(st.none(), st.integers(-1_000, 1_000).map(at)),
)
steps = st.lists(st.tuples(st.integers(0, 90), readings), max_size=12)
expectations = st.sampled_from([frozenset[Arm](), TREATMENT_ALONE, BOTH])


@given(steps, expectations)
def test_any_history_gives_a_sentence_or_none_and_keeps_plain_json(
    history: list[tuple[int, Reading]], expected: frozenset[Arm]
) -> None:
    watch, second = Watch(expected), 0
    for wait, answer in history:
        second += wait
        before = watch.seen
        gap = watch.look(second, answer)
        assert gap is None or (gap.kind in NoData and gap.sentence.endswith("."))
        assert json.loads(json.dumps(watch.seen.model_dump(mode="json"))) == watch.seen.model_dump(mode="json")
        for arm in Arm:
            was, now = before.last(arm), watch.seen.last(arm)
            assert now is None or now <= at(second)
            assert was is None or (now is not None and now >= was)


@given(steps, expectations.filter(bool), st.integers(61, 10_000))
def test_silence_always_becomes_a_gap_and_stays_one(
    history: list[tuple[int, Reading]], expected: frozenset[Arm], silence: int
) -> None:
    watch, second = Watch(expected), 0
    for wait, answer in history:
        second += wait
        watch.look(second, answer)
    for more in (silence, 2 * silence):
        assert watch.look(second + more, reading()) is not None


@given(steps)
def test_fresh_data_in_both_arms_is_never_a_gap(history: list[tuple[int, Reading]]) -> None:
    watch, second = Watch(), 0
    for wait, answer in history:
        second += wait
        watch.look(second, answer)
    assert watch.look(second + 1, reading(control=1, treatment=1)) is None


@given(steps)
def test_an_arm_that_was_never_counted_is_never_called_stale(history: list[tuple[int, Reading]]) -> None:
    watch, second, counted = Watch(TREATMENT_ALONE), 0, False
    for wait, answer in history:
        second += wait
        gap = watch.look(second, answer)
        counted = counted or answer.by_variant.get("treatment", Sample(0)).exposures > 0
        assert counted or kind(gap) is not NoData.STALE
