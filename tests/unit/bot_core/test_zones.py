"""Whose zone is which, as Slack's profiles say, and what is done where they don't."""

from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.clients import OneClient
from bot.zones import ASKED_AGAIN, KEPT, Zones, zone_in
from tests.unit.notifier.slack import refusal
from tools.clock import ManualClock


@dataclass
class Profiles:
    """Slack's profiles; `refusals` is what it answers first."""

    zone: dict[str, Any]
    refusals: list[Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def users_info(self, *, user: str) -> dict[str, Any]:
        self.asked.append(user)
        if self.refusals:
            raise self.refusals.pop(0)
        return {"user": {"id": user, **self.zone}}


@pytest.mark.parametrize(
    ("profile", "zone"),
    [
        ({"tz": "Asia/Tokyo", "tz_offset": 32_400}, ZoneInfo("Asia/Tokyo")),
        ({"tz": "Mars/Olympus", "tz_offset": -12_600}, timezone(timedelta(hours=-3.5))),
        ({"tz": None, "tz_offset": 3600}, timezone(timedelta(hours=1))),
        ({"tz": "../etc/passwd"}, None),
        ({"tz_offset": 999_999}, None),
        ({}, None),
    ],
)
def test_a_zone_is_read_from_the_profile(profile: dict[str, Any], zone: tzinfo | None) -> None:
    assert zone_in(profile) == zone


async def test_a_zone_is_asked_for_once_an_hour() -> None:
    slack, clock = Profiles({"tz": "Asia/Tokyo"}), ManualClock()
    zones = Zones(OneClient(slack), clock)
    for _ in range(2):
        assert await zones.of("U1", workspace="T1") == ZoneInfo("Asia/Tokyo")
    await zones.of("U1", workspace="T2")
    assert slack.asked == ["U1", "U1"]
    clock.advance(KEPT.total_seconds())
    slack.zone = {"tz": "Europe/Berlin"}
    assert await zones.of("U1", workspace="T1") == ZoneInfo("Europe/Berlin")


async def test_a_zone_can_be_asked_for_anew() -> None:
    slack = Profiles({"tz": "Europe/Berlin"})
    zones = Zones(OneClient(slack), ManualClock())
    await zones.of("U1")
    slack.zone = {"tz": "Asia/Tokyo"}
    assert await zones.now_of("U1") == await zones.of("U1") == ZoneInfo("Asia/Tokyo")
    slack.refusals = [OSError("away")]
    assert await zones.now_of("U1") == ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize("trouble", [refusal("missing_scope"), OSError("away"), TimeoutError()])
async def test_where_slack_does_not_say_it_is_utc_for_a_minute(trouble: Exception) -> None:
    slack, clock = Profiles({"tz": "Asia/Tokyo"}, [trouble]), ManualClock()
    zones = Zones(OneClient(slack), clock)
    for _ in range(2):
        assert await zones.of("U1") is UTC
    assert slack.asked == ["U1"]
    clock.advance(ASKED_AGAIN.total_seconds())
    assert await zones.of("U1") == ZoneInfo("Asia/Tokyo")
