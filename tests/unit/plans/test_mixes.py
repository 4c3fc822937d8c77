"""The mix that a plan keeps of its traffic's past."""

from datetime import timedelta

import pytest

from tools.gates.mix import MOST_SEGMENTS
from tools.metrics.base import Sample
from tools.plans.mixes import NO_SEGMENT, NoMix, mix_of, part_of
from tools.plans.model import Audience

HOUR = timedelta(hours=1)


def piece(**segments: int) -> Sample:
    return Sample(sum(segments.values()), segments=tuple(segments.items()))


def test_it_is_the_whole_with_how_far_any_piece_was_from_it() -> None:
    found = mix_of("regions", [piece(eu=700, us=300), piece(eu=300, us=700)], HOUR)
    assert [(part.segment, part.share) for part in found.mix] == [("eu", 0.5), ("us", 0.5)]
    assert found.mix_spread == pytest.approx(0.2)
    assert (found.base_rate, found.quietest, found.busiest) == (None, 16.67, 16.67)


def test_small_pieces_are_looked_at_together_as_chance_is_no_spread() -> None:
    pieces = [piece(eu=1), piece(us=1)] * 400
    assert mix_of("regions", pieces, HOUR).mix_spread == 0


def test_the_largest_segments_are_named_and_no_crumbs() -> None:
    many = {f"tenant{number:03}": 1000 + number for number in range(60)}
    found = mix_of("tenants", [piece(**many, crumb=3)], HOUR)
    assert len(found.mix) == MOST_SEGMENTS
    assert found.mix[0].segment == "tenant059"
    assert [part.segment for part in mix_of("tenants", [piece(big=10_000, crumb=3)], HOUR).mix] == ["big"]


def test_requests_without_a_segment_are_one() -> None:
    found = mix_of("regions", [Sample(1000, segments=((None, 400), ("eu", 600)))], HOUR)
    assert [part.segment for part in found.mix] == ["eu", NO_SEGMENT]


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([], "counted 0 requests"),
        ([piece(eu=499)], "counted 499 requests lately, and 500 are needed"),
        ([piece(**{f"t{number}": 1 for number in range(900)})], "no segment is as much as 1 in 200"),
    ],
)
def test_too_little_is_no_mix(pieces: list[Sample], why: str) -> None:
    with pytest.raises(NoMix, match=why):
        mix_of("regions", pieces, HOUR)


MADE_FOR = mix_of("regions", [piece(eu=360, us=440, asia=200), piece(eu=340, us=460, asia=200)], HOUR)


@pytest.mark.parametrize(
    ("audience", "part"),
    [
        (Audience(), (1.0, 1.0)),
        (Audience(regions=("eu",)), (0.34, 0.36)),
        (Audience(regions=("eu", "us")), (0.79, 0.81)),
        (Audience(regions=("eu", "us", "asia")), (0.99, 1.0)),
        (Audience(regions=("eu", "moon")), None),
        (Audience(tenants=("acme",)), None),
        (Audience(tenants=("acme",), regions=("eu",)), None),
    ],
)
def test_what_part_of_the_requests_an_audience_is(audience: Audience, part: tuple[float, float] | None) -> None:
    found = part_of(audience, [MADE_FOR])
    assert found == (None if part is None else pytest.approx(part, abs=1e-9))
    assert part_of(audience, []) is None or audience.everyone
