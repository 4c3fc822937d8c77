import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.flags.evaluation import (
    BUCKETS,
    Evaluation,
    FlagDefinition,
    InvalidContext,
    Reason,
    TargetingKeyMissing,
    bucket_of,
    evaluate,
)
from tools.plans.model import Audience, Exposure, Mode

KEYS = 100_000

targeting_keys = st.text(st.characters(), min_size=1, max_size=40)
percents = st.integers(0, BUCKETS).map(lambda step: round(step / 1000, 3))
names = st.sampled_from(["acme", "globex", "initech", "eu", "us"])


def definition(
    percent: float = 50,
    *,
    key: str = "checkout",
    salt: str = "pepper",
    mode: Mode = Mode.LIVE,
    **audience: tuple[str, ...],
) -> FlagDefinition:
    exposure = Exposure(percent=percent, mode=mode, audience=Audience(**audience))
    return FlagDefinition(key, "production", "old", "new", salt, exposure, "1")


def buckets(flag: str, salt: str) -> np.ndarray:
    return np.array([bucket_of(salt, flag, f"user-{i}") for i in range(KEYS)])


class TestSplit:
    @given(targeting_keys, percents, percents)
    def test_raising_moves_nobody_out(self, key: str, one: float, other: float) -> None:
        low, high = sorted((one, other))
        context = {"targetingKey": key}
        if evaluate(definition(low), context).variant == "new":
            assert evaluate(definition(high), context).variant == "new"

    @given(targeting_keys, percents)
    def test_is_sticky(self, key: str, percent: float) -> None:
        context = {"targetingKey": key}
        assert evaluate(definition(percent), context) == evaluate(definition(percent), dict(context, plan="pro"))

    def test_does_not_depend_on_the_release(self) -> None:
        # People must keep their variant over an upgrade of Sluice: these numbers may never change.
        assert [bucket_of("pepper", "checkout", key) for key in ("user-1", "user-2", "Zoë", "\ud800")] == [
            53573,
            86685,
            67501,
            36686,
        ]

    @pytest.mark.parametrize("percent", [0.5, 1, 5, 10, 25, 33.333, 50, 75, 90, 99.5])
    def test_share_is_within_half_a_point(self, percent: float) -> None:
        flag = definition(percent)
        exposed = sum(evaluate(flag, {"targetingKey": f"user-{i}"}).variant == "new" for i in range(KEYS))
        assert exposed / KEYS * 100 == pytest.approx(percent, abs=0.5)

    def test_buckets_are_uniform(self) -> None:
        counts = np.bincount(buckets("checkout", "pepper") // 1000, minlength=100)
        assert chi_square(counts, np.full(100, KEYS / 100)) < critical(99)

    @pytest.mark.parametrize(
        ("one", "other"),
        [(("checkout", "pepper"), ("search", "pepper")), (("checkout", "pepper"), ("checkout", "paprika"))],
    )
    def test_flags_and_salts_are_independent(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        rows, columns = buckets(*one) // 10_000, buckets(*other) // 10_000
        table = np.bincount(rows * 10 + columns, minlength=100).reshape(10, 10)
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / KEYS
        assert chi_square(table, expected) < critical(81)

    def test_the_smallest_step_is_one_bucket(self) -> None:
        flag = definition(0.001)
        exposed = [i for i in range(KEYS) if evaluate(flag, {"targetingKey": f"user-{i}"}).variant == "new"]
        assert exposed == [i for i in range(KEYS) if bucket_of("pepper", "checkout", f"user-{i}") == 0]

    @given(percents)
    def test_every_percentage_is_a_whole_number_of_buckets(self, percent: float) -> None:
        assert percent * BUCKETS / 100 == pytest.approx(round(percent * BUCKETS / 100), abs=1e-6)


class TestReason:
    def test_nobody_and_everybody_need_no_targeting_key(self) -> None:
        assert evaluate(definition(0), {}) == Evaluation("old", Reason.STATIC)
        assert evaluate(definition(100), {}) == Evaluation("new", Reason.STATIC)

    def test_nobody_of_an_audience_is_static(self) -> None:
        assert evaluate(definition(0, tenants=("acme",)), {"tenant": "acme"}) == Evaluation("old", Reason.STATIC)

    def test_a_whole_audience_needs_no_targeting_key(self) -> None:
        flag = definition(100, tenants=("acme",))
        assert evaluate(flag, {"tenant": "acme"}) == Evaluation("new", Reason.TARGETING_MATCH)
        assert evaluate(flag, {"tenant": "globex"}) == Evaluation("old", Reason.DEFAULT)

    def test_a_share_is_a_split_for_both_variants(self) -> None:
        answers = {evaluate(definition(50), {"targetingKey": f"user-{i}"}) for i in range(50)}
        assert answers == {Evaluation("new", Reason.SPLIT), Evaluation("old", Reason.SPLIT)}


class TestAudience:
    @given(
        st.lists(names, max_size=3).map(tuple),
        st.lists(names, max_size=3).map(tuple),
        st.one_of(st.none(), names, st.integers(), st.lists(names)),
        st.one_of(st.none(), names),
        targeting_keys,
    )
    def test_tenant_and_region_must_both_match(
        self, tenants: tuple[str, ...], regions: tuple[str, ...], tenant: object, region: object, key: str
    ) -> None:
        inside = (not tenants or tenant in tenants) and (not regions or region in regions)
        context = {"targetingKey": key, "tenant": tenant, "region": region}
        answer = evaluate(definition(100, tenants=tenants, regions=regions), context)
        assert answer.variant == ("new" if inside else "old")

    @given(targeting_keys, percents)
    def test_the_audience_is_split_as_everyone_is(self, key: str, percent: float) -> None:
        context = {"targetingKey": key, "region": "eu"}
        audience = evaluate(definition(percent, regions=("eu",)), context)
        assert audience.variant == evaluate(definition(percent), context).variant

    def test_outside_of_it_no_targeting_key_is_needed(self) -> None:
        flag = definition(50, tenants=("acme",), regions=("eu",))
        assert evaluate(flag, {"tenant": "acme", "region": "us"}) == Evaluation("old", Reason.DEFAULT)


class TestShadow:
    @settings(max_examples=50)
    @given(targeting_keys, percents)
    def test_control_is_served_and_treatment_named_for_those_exposed(self, key: str, percent: float) -> None:
        context = {"targetingKey": key}
        live, shadow = evaluate(definition(percent), context), evaluate(definition(percent, mode=Mode.SHADOW), context)
        assert shadow == Evaluation("old", live.reason, shadow="new" if live.variant == "new" else None)


class TestTargetingKey:
    @pytest.mark.parametrize("context", [{}, {"targetingKey": None}, {"targetingKey": ""}, {"tenant": "acme"}])
    def test_is_missing(self, context: dict[str, object]) -> None:
        with pytest.raises(TargetingKeyMissing, match=r"checkout is served to 50 %: send a targetingKey") as failure:
            evaluate(definition(50), context)
        assert failure.value.code == "TARGETING_KEY_MISSING"

    def test_is_missing_inside_the_audience_only(self) -> None:
        with pytest.raises(TargetingKeyMissing):
            evaluate(definition(50, tenants=("acme",)), {"tenant": "acme"})

    @pytest.mark.parametrize("key", [7, 0, True, ["user-1"], {"id": 1}])
    def test_must_be_a_string(self, key: object) -> None:
        with pytest.raises(InvalidContext, match="must be a string, not") as failure:
            evaluate(definition(50), {"targetingKey": key})
        assert failure.value.code == "INVALID_CONTEXT"


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def critical(degrees: int) -> float:
    """The 99.9 % point of the chi-square distribution (Wilson-Hilferty)."""
    z = 3.0902
    return degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
