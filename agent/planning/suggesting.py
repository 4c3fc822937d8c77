"""What a changed API suggests: guardrails by route. Said on the plan, for people to ask for; never put in by itself."""

from collections.abc import Collection, Iterable

from tools.metrics.catalogue import Catalogue
from tools.metrics.routes import same_route
from tools.records.database import Database
from tools.specs.base import Spec
from tools.specs.openapi import Change, changes
from tools.specs.snapshots import Earlier, one_before

MOST_ROUTES = 5
LONGEST_ROUTE = 80
_SAID = {Change.ADDED: "is new", Change.CHANGED: "changed", Change.REMOVED: "is gone"}


async def suggestions(
    database: Database | None, spec: Spec | None, catalogue: Catalogue, guarding: Collection[str]
) -> list[str]:
    """Sentences about the routes that changed since the spec before; none for the first spec, or without an API."""
    if database is None or spec is None or not spec.operations:
        return []
    async with database.read() as session:
        before = await one_before(session, spec)
    return [] if before is None else list(suggested(spec, before, catalogue, guarding))


def suggested(spec: Spec, before: Earlier, catalogue: Catalogue, guarding: Collection[str]) -> Iterable[str]:
    """The same, from both versions. Pure."""
    found = changes(before.operations, spec.operations) if before.operations else {}
    unguarded = {route: how for route, how in found.items() if not _guarded(route, catalogue, guarding)}
    for route, how in list(unguarded.items())[:MOST_ROUTES]:
        shown = " ".join(route.split())[:LONGEST_ROUTE]
        yield f"{shown} {_SAID[how]} in the API since {before.read_at:%d %b %Y}: {_advice(route, catalogue)}."
    if len(unguarded) > MOST_ROUTES:
        yield f"{len(unguarded) - MOST_ROUTES} more routes changed in the API since then."


def _guarded(route: str, catalogue: Catalogue, guarding: Collection[str]) -> bool:
    return any(metric in guarding for metric in _watching(route, catalogue))


def _watching(route: str, catalogue: Catalogue) -> list[str]:
    return [one.name for one in catalogue if one.route is not None and same_route(one.route, route)]


def _advice(route: str, catalogue: Catalogue) -> str:
    watching = _watching(route, catalogue)
    if watching:
        return f"{' and '.join(watching)} could guard it, and does not; ask for it in the thread"
    return "no metric watches it; add it to the routes of one in the settings"
