"""What traffic is made of when a plan is made: the mix that drift is later found from. Pure."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from tools.errors import InvalidInput
from tools.gates.mix import MOST_SEGMENTS
from tools.metrics.base import Sample, together
from tools.plans.model import Audience, Expected, Part

NO_SEGMENT = "(none)"
"""What requests without a segment are kept as."""
ENOUGH = 500
"""Requests from which on a mix is more than chance; pieces with fewer are looked at together."""
SMALLEST_PART = 0.005
"""A segment that is less of the requests is not named."""


class NoMix(InvalidInput):
    """Too little was recorded to say what traffic is made of."""


def mix_of(metric: str, pieces: Sequence[Sample], step: timedelta) -> Expected:
    """The mix of all pieces, each `step` long, and how far any of them was from it. Raises NoMix."""
    whole = together(pieces)
    counts = counts_of(whole)
    total = sum(counts.values())
    if total < ENOUGH:
        raise NoMix(f"it counted {total:,} requests lately, and {ENOUGH:,} are needed.")
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_SEGMENTS]
    parts = tuple(
        Part(segment=label, share=float(f"{count / total:.4g}"))
        for label, count in largest
        if count >= SMALLEST_PART * total
    )
    if not parts:
        raise NoMix("no segment is as much as 1 in 200 requests; group by something with fewer values.")
    paces = [piece.exposures / (step.total_seconds() / 60) for piece in pieces]
    return Expected(
        metric=metric,
        base_rate=None,
        quietest=float(f"{min(paces):.4g}"),
        busiest=float(f"{max(paces):.4g}"),
        mix=parts,
        mix_spread=round(min(_spread(parts, pieces), 1.0), 4),
    )


def part_of(audience: Audience, expected: Sequence[Expected]) -> tuple[float, float] | None:
    """The least and the largest part of the requests that the audience's are, by a mix that names all of it.

    None where no mix tells: it names others, or the audience is of both tenants and regions.
    """
    if audience.everyone:
        return 1.0, 1.0
    names = set(audience.tenants or audience.regions)
    if audience.tenants and audience.regions:
        return None
    for one in expected:
        parts = {part.segment: part.share for part in one.mix}
        if names <= set(parts):
            part = min(sum(parts[name] for name in names), 1.0)
            return max(part - one.mix_spread, 0.0), min(part + one.mix_spread, 1.0)
    return None


def counts_of(sample: Sample) -> dict[str, int]:
    """Its exposures by segment."""
    counts = dict[str, int]()
    for label, count in sample.segments:
        known = NO_SEGMENT if label is None else label
        counts[known] = counts.get(known, 0) + count
    return counts


def _spread(parts: Sequence[Part], pieces: Sequence[Sample]) -> float:
    """The largest distance in total variation of any piece, with neighbours where it is small, from the whole."""
    rest = max(1 - sum(part.share for part in parts), 0.0)
    distances = [0.0]
    for counts in _joined(pieces):
        total = sum(counts.values())
        named = [counts.get(part.segment, 0) / total for part in parts]
        seen = zip((*named, 1 - sum(named)), (*(part.share for part in parts), rest), strict=True)
        distances.append(sum(max(now - planned, 0.0) for now, planned in seen))
    return max(distances)


def _joined(pieces: Sequence[Sample]) -> Iterator[dict[str, int]]:
    waiting = list[Sample]()
    for piece in pieces:
        waiting.append(piece)
        if sum(one.exposures for one in waiting) >= ENOUGH:
            yield counts_of(together(waiting))
            waiting = []
