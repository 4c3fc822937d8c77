"""Routes, flags and hours: every alert is broadcast at once or told when quiet hours are over, exactly once."""

from datetime import UTC, datetime, time, timedelta
from itertools import product

import pytest

from bot.following import Follower
from bot.quiet import EVERY_DAY, QuietHours
from bot.settings import RouteSettings
from tests.unit.notifier.desk import Desk
from tests.unit.rollouts.world import AIKO, MIRA, make_plan
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView

NIGHT = {"from": "22:00", "to": "07:00"}
EVENING = {"from": "18:00", "to": "23:00"}
HOURS = {"night": QuietHours(time(22), time(7), "UTC", EVERY_DAY), "evening": QuietHours(time(18), time(23))}
ROUTES = (
    {"environment": "staging", "channel": "CRELEASES", "quiet": NIGHT},
    {"environment": "production", "channel": "CRELEASES"},
    {"tags": ["payments"], "channel": "CPAY", "quiet": EVENING},
    {"environment": "production", "tags": ["payments"], "channel": "CRELEASES", "quiet": EVENING},
    {"channel": "CALL", "quiet": NIGHT},
)
TABLES = (ROUTES[:1], ROUTES[:2], ROUTES[1::-1], ROUTES[2:4] + ROUTES[:1], (ROUTES[3], *ROUTES[:2]), ROUTES[4:])
FLAGS = tuple(product(("staging", "production"), ((), ("payments",))))
PLACES = ("CRELEASES", "CPAY", "CTEAM")
MOMENTS = tuple(datetime(2026, 1, 2, *clock, tzinfo=UTC) for clock in ((17, 59, 30), (22, 30, 0), (6, 59, 30)))


def routed(desk: Desk, routes: tuple[dict[str, object], ...]) -> Desk:
    named = tuple(RouteSettings.model_validate(one) for one in routes)
    return desk.with_slack(alerts_channel="CALERTS", direct_messages=False, route=named)


async def deliver(desk: Desk) -> None:
    idle = 0
    while idle < 2:
        said = await Follower(desk.services).turn() + await desk.notifier.deliver_due()
        idle = 0 if said else idle + 1
        desk.world.clock.advance(1)


async def proposed(desk: Desk, flag: str, environment: str, tags: tuple[str, ...], channel: str) -> RolloutView:
    flags = desk.services.flags
    assert isinstance(flags, MemoryFlagService)
    await flags.define(FlagRef(flag, environment), "old", "new")
    plan = make_plan().model_copy(update={"flag": flag, "environment": environment, "tags": tags})
    return await desk.services.rollouts.propose(plan, requester=MIRA, place=Place("T1", channel), reason="asked")


def seen(desk: Desk, what: str) -> list[str]:
    """The channels that were told, each as often as it was: what stands in a thread alone tells none."""
    posts = [said for said in desk.slack.of("post") if what in said.text and not said.blocks]
    return sorted(said.channel for said in posts if said.thread_ts is None or said.broadcast)


def route_of(
    routes: tuple[dict[str, object], ...], environment: str, tags: tuple[str, ...]
) -> dict[str, object] | None:
    """By the words of the documentation: the first that is meant for the flag."""
    for route in routes:
        wanted = route.get("tags")
        if route.get("environment", environment) == environment and (
            wanted is None or (isinstance(wanted, list) and set(wanted) & set(tags))
        ):
            return route
    return None


def end_of_quiet(route: dict[str, object] | None, now: datetime) -> datetime | None:
    quiet = None if route is None else route.get("quiet")
    return None if quiet is None else HOURS["night" if quiet == NIGHT else "evening"].until(now)


@pytest.mark.parametrize(("table", "moment"), list(product(range(len(TABLES)), MOMENTS)))
async def test_every_alert_is_told_once_in_each_channel_that_it_is_for(
    desk: Desk, table: int, moment: datetime
) -> None:
    routes = TABLES[table]
    desk = routed(desk, routes)
    await deliver(desk)
    desk.world.clock.at = moment
    views = {}
    for number, ((environment, tags), place) in enumerate(product(FLAGS, PLACES)):
        views[environment, tags, place] = await proposed(desk, f"flag-{number}", environment, tags, place)
    await deliver(desk)
    now_or_later: dict[str, list[str]] = {}
    for (environment, tags, place), view in views.items():
        route = route_of(routes, environment, tags)
        reached = {place} | ({str(route["channel"])} if route is not None else set())
        held = {str(route["channel"])} if route is not None and end_of_quiet(route, moment) is not None else set()
        now_or_later[view.id] = sorted(reached)
        # What stands in a channel names its flag, or hangs on the flag's card there.
        assert told_of(desk, view) == sorted(reached - held), (environment, tags, place, route)
    for hours in (10, 20):
        desk.world.clock.at = moment + timedelta(hours=hours)
        await deliver(desk)
    for view in views.values():
        assert told_of(desk, view) == now_or_later[view.id], view.flag


def told_of(desk: Desk, view: RolloutView) -> list[str]:
    """Where the question about the rollout reached a whole channel."""
    cards = {said.ts for said in desk.slack.of("post") if said.blocks and said.metadata == metadata(view)}
    posts = [said for said in desk.slack.of("post") if "Please decide" in said.text and not said.blocks]
    below = [said.channel for said in posts if said.thread_ts in cards and said.broadcast]
    about = f"*{view.flag}* in {view.environment}: ✋ Please decide"
    beside = [said.channel for said in posts if said.thread_ts is None for _ in range(said.text.count(about))]
    return sorted(below + beside)


def metadata(view: RolloutView) -> dict[str, object]:
    return {"event_type": "sluice_card", "event_payload": {"rollout": view.id}}


@pytest.mark.parametrize("table", range(len(TABLES)))
async def test_a_rollback_never_waits(desk: Desk, table: int) -> None:
    routes = TABLES[table]
    desk = routed(desk, routes)
    await deliver(desk)
    desk.world.clock.at = datetime(2026, 1, 2, 22, 30, tzinfo=UTC)
    for number, ((environment, tags), place) in enumerate(product(FLAGS, PLACES)):
        view = await proposed(desk, f"flag-{number}", environment, tags, place)
        if view.approval is not None:
            view = await desk.services.rollouts.approve(view.approval.id, actor=AIKO)
        await deliver(desk)
        await desk.services.rollouts.roll_back(view.id, actor=AIKO, reason=f"harm-{number}.")
        await deliver(desk)
        route = route_of(routes, environment, tags)
        assert seen(desk, f"harm-{number}.") == sorted({place} | ({str(route["channel"])} if route else set()))


async def test_what_was_asked_before_quiet_hours_and_delivered_in_them_is_told_after_them(desk: Desk) -> None:
    desk = routed(desk, ROUTES[:1])
    await deliver(desk)
    desk.world.clock.at = datetime(2026, 1, 2, 21, 59, tzinfo=UTC)
    view = await proposed(desk, "flag-0", "staging", (), "CRELEASES")
    await Follower(desk.services).turn()
    desk.world.clock.advance(600)
    await deliver(desk)
    assert told_of(desk, view) == []
    desk.world.clock.at = datetime(2026, 1, 3, 7, 1, tzinfo=UTC)
    await deliver(desk)
    assert told_of(desk, view) == ["CRELEASES"]


async def test_what_was_asked_in_quiet_hours_and_delivered_after_them_is_told_once(desk: Desk) -> None:
    desk = routed(desk, ROUTES[:1])
    await deliver(desk)
    desk.world.clock.at = datetime(2026, 1, 3, 6, 59, tzinfo=UTC)
    view = await proposed(desk, "flag-0", "staging", (), "CRELEASES")
    await Follower(desk.services).turn()
    desk.world.clock.advance(600)
    await deliver(desk)
    assert told_of(desk, view) == ["CRELEASES"]
