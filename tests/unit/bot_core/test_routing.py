"""Which channel is told of what, and what no quiet hours hold back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from bot.routing import alerts, alerts_channel, card_channel, is_page, quiet_until
from bot.settings import RouteSettings, SlackSettings
from tools.rollouts.events import SLUICE, Happening

NIGHT = {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}
SLACK = SlackSettings(
    alerts_channel="CALERTS",
    releases_channel="CRELEASES",
    route=tuple(
        RouteSettings.model_validate(one)
        for one in (
            {"environment": "production", "tags": ["Payments"], "channel": "CPAY", "quiet": NIGHT},
            {"environment": "production", "channel": "CPROD"},
            {"tags": ["mobile"], "channel": "CMOBILE"},
        )
    ),
    workspaces={"T0002": {"alerts_channel": "COTHER", "route": ()}},
)
LATE = datetime(2026, 1, 14, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("environment", "tags", "channel"),
    [
        ("production", ("payments", "mobile"), "CPAY"),
        ("production", ("mobile",), "CPROD"),
        ("Production", ("PAYMENTS",), "CPAY"),
        ("staging", ("mobile",), "CMOBILE"),
        ("staging", (), None),
    ],
)
def test_the_first_route_that_is_meant_counts(environment: str, tags: tuple[str, ...], channel: str | None) -> None:
    assert alerts_channel(SLACK, environment, tags) == (channel or "CALERTS")
    assert card_channel(SLACK, environment, tags) == (channel or "CRELEASES")


def test_a_workspace_has_routes_of_its_own() -> None:
    assert alerts_channel(SLACK.of("T0002"), "production", ("payments",)) == "COTHER"
    assert alerts_channel(SLACK.of("T0003"), "production", ("payments",)) == "CPAY"
    assert alerts_channel(SlackSettings(), "production", ()) is None


def test_a_channel_is_quiet_by_the_clocks_of_the_route_that_the_flag_takes() -> None:
    def until(channel: str, environment: str, *tags: str, hours: int = 0) -> datetime | None:
        return quiet_until(SLACK, channel, environment, tags, LATE + timedelta(hours=hours))

    assert until("CPAY", "production", "payments") == datetime(2026, 1, 15, 6, tzinfo=UTC)
    assert until("CPAY", "production", "payments", hours=8) is None
    assert until("CPROD", "production") is None
    assert until("CPAY", "staging", "payments") is None, "no route brings it there"
    assert until("CPROD", "production", "payments") is None, "its route leads to another channel"


@pytest.mark.parametrize(
    ("what", "actor", "facts", "page"),
    [
        (Happening.ROLLBACK_STARTED, "UMIRA0001", {}, True),
        (Happening.ROLLBACK_STUCK, SLUICE, {}, True),
        (Happening.METRICS_BLIND, SLUICE, {}, True),
        (Happening.PAUSED, SLUICE, {"reason": "harm"}, True),
        (Happening.PAUSED, SLUICE, {"reason": "nobody answered", "unanswered": True}, False),
        (Happening.PAUSED, "UMIRA0001", {}, False),
        (Happening.APPROVAL_REQUESTED, SLUICE, {}, False),
        (Happening.PROMOTED, SLUICE, {}, False),
    ],
)
def test_what_is_told_at_any_hour(what: Happening, actor: str, facts: dict[str, Any], page: bool) -> None:
    assert is_page(what, actor, facts) is page


def test_a_pause_that_a_person_wanted_alerts_nobody() -> None:
    assert alerts(Happening.PAUSED, SLUICE)
    assert not alerts(Happening.PAUSED, "UMIRA0001")
    assert not alerts(Happening.PROMOTED, SLUICE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": ""},
        {"environment": "production"},
        {"channel": "C1", "quiet": {"from": "22:00"}},
        {"channel": "C1", "quiet": {"from": "22:00", "to": "07:00", "zone": "Europe/Atlantis"}},
        {"channel": "C1", "quiet": {"from": "22:00", "to": "07:00", "days": []}},
        {"channel": "C1", "quiet": {"from": "25:00", "to": "07:00"}},
    ],
)
def test_routes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RouteSettings.model_validate(wrong)
