"""Text, numbers and lines as people read them."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import texts
from bot.blocks.lines import line
from bot.blocks.mrkdwn import bound, clock_time, escape, fitted, moment_of, name, person, plain
from tests.unit.blocks.examples import JONAS, MIRA, NOW
from tools.clock import written
from tools.rollouts.events import Happening


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0 %"), (100, "100 %"), (0.5234, "0.523 %"), (12.345, "12.3 %"), (0.0004, "below 0.001 %"), (1e-3, "0.001 %")],
)
def test_percentages(share: float, said: str) -> None:
    assert texts.percentage(share) == said


@pytest.mark.parametrize(
    ("e_value", "said"),
    [
        (0.04, "0.0"),
        (3.21, "3.2"),
        (9.96, "10.0"),
        (19.99, "19"),
        (2015.4, "2,015"),
        (1e6, "1,000,000"),
        (1.1e6, "over a million"),
        (float("inf"), "over a million"),
    ],
)
def test_evidence_is_never_rounded_up_to_a_proof(e_value: float, said: str) -> None:
    assert texts.evidence(e_value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (59.6, "1 min"),
        (45, "45 s"),
        (90, "1 min 30 s"),
        (600, "10 min"),
        (5400, "1 h 30 min"),
        (172800, "2 d"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert texts.duration(timedelta(seconds=seconds)) == said


def test_what_comes_from_outside_is_data() -> None:
    assert escape("<!channel> & <@U1>\nnext\x00 \u202eline") == "&lt;!channel&gt; &amp; &lt;@U1&gt; next line"
    assert name("a`b") == "a´b"
    assert name("") == "…"
    assert person("UMIRA0001") == "<@UMIRA0001>"
    assert person("sluice") == "Sluice"
    assert person("<!here>") == "&lt;!here&gt;"


def test_times_are_in_the_readers_zone() -> None:
    assert clock_time(NOW) == "<!date^1772366405^{time_secs}|12:00:05 UTC>"
    assert moment_of(NOW) == "<!date^1772366405^{date_short_pretty} at {time}|2026-03-01 12:00 UTC>"
    assert escape("The freeze lasts until 01 Mar 2026 12:00 UTC.") == (
        "The freeze lasts until <!date^1772366400^{date_short_pretty} at {time}|2026-03-01 12:00 UTC>."
    )
    assert escape("31 Feb 2026 12:00 UTC & more") == "31 Feb 2026 12:00 UTC &amp; more"


def test_a_number_stays_with_its_unit() -> None:
    gap = "\N{NO-BREAK SPACE}"
    assert bound("5 % of 300 in 10 min, 2 d, 30 s") == f"5{gap}% of 300 in 10{gap}min, 2{gap}d, 30{gap}s"
    assert bound("3 mails, 4 hours and 1 sold") == "3 mails, 4 hours and 1 sold"


def test_moments_in_what_tools_say_are_in_the_readers_zone() -> None:
    to_the_second = "<!date^1772366405^{date_short_pretty} at {time_secs}|2026-03-01 12:00:05 UTC>"
    for said in (
        written(NOW, seconds=True),
        "2026-03-01 12:00:05 UTC",
        "2026-03-01T12:00:05Z",
        "2026-03-01T12:00:05.123456+00:00",
    ):
        assert escape(f"since {said}.") == f"since {to_the_second}.", said
    assert escape(f"until {written(NOW)}.") == f"until {moment_of(NOW.replace(second=0))}."
    for other in ("2026-13-01 12:00:05 UTC", "2026-03-01 12:00:05 CET", "2026-03-01T12:00:05+01:00", "12:00:05 UTC"):
        assert "<!date" not in escape(other), other


@pytest.mark.parametrize(
    "said",
    [
        "24 Dec 2026 14:00 UTC+2",
        "24 Dec 2026 14:00 UTC-01:00",
        "24 Dec 2026 14:00 UTC −3",
        "24 Dec 2026 14:00 UTC:30",
        "2026-12-24T14:00Z+2",
        "2026-12-24T14:00+00:00:30",
        "https://e.example/logs?since=2026-12-24T14:00Z",
        "https://e.example/logs/a,2026-12-24T14:00Z",
        "www.e.example/(2026-12-24T14:00Z)",
        "the flag release-2026-12-24T14:00Z",
        "the flag 2026-12-24T14:00Z-rc1",
        "`date -d 2026-12-24T14:00Z`",
        "``a ` 2026-12-24T14:00Z``",
    ],
)
def test_what_only_looks_like_a_moment_in_utc_stays_as_it_is(said: str) -> None:
    assert escape(said) == said


def test_a_name_is_no_moment() -> None:
    assert name("2026-12-24T14:00Z") == "2026-12-24T14:00Z"


@given(st.text(), st.integers(2, 80))
def test_cutting_splits_neither_entity_nor_token(text: str, most: int) -> None:
    whole = f"{escape(text)} {clock_time(NOW)}"
    cut = fitted(whole, most)
    assert len(cut) <= most
    assert cut.count("<") == cut.count(">")
    assert cut == whole or cut.endswith("…")
    assert "&" not in cut.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


@given(st.text(), st.integers(1, 50))
def test_plain_is_one_line_of_bounded_length(text: str, most: int) -> None:
    assert len(plain(text, most)) <= most
    assert len(plain(text, most).splitlines()) <= 1


@pytest.mark.parametrize(
    ("what", "actor", "facts", "said"),
    [
        (
            Happening.STARTED,
            JONAS,
            {"exposure": "1 %", "known_good": "0 %"},
            f"▶ <@{JONAS}> started it at 1 %; before, it was 0 %.",
        ),
        (
            Happening.APPROVAL_REQUESTED,
            MIRA,
            {"purpose": "promote", "to_exposure": "50 %", "why": "it is large", "expires_at": NOW.isoformat()},
            f"✋ Please decide: go on to 50 %? Why ask: it is large. Expires {moment_of(NOW)}.",
        ),
        (
            Happening.APPROVAL_REQUESTED,
            MIRA,
            {"purpose": "promote", "to_exposure": None, "why": "w", "expires_at": "soon"},
            "✋ Please decide: finish? Why ask: w. Expires soon.",
        ),
        (
            Happening.APPROVAL_VOTED,
            JONAS,
            {"answer": "reject", "reason": "<no>", "have": 0, "needed": 1},
            f"✖ <@{JONAS}> rejected (0 of 1). &lt;no&gt;",
        ),
        (Happening.APPROVAL_GRANTED, JONAS, {"by": [JONAS, MIRA]}, f"✔ Approved by <@{JONAS}>, <@{MIRA}>."),
        (
            Happening.CHANGED_BY_HAND,
            "sluice",
            {"expected": "5 %", "found": "50 %", "raised": True},
            "⚠ Someone changed the flag by hand from 5 % to 50 %. "
            "It was raised, so it is paused: resume to go back to the plan, or roll back.",
        ),
        (
            Happening.PLAN_REVISED,
            JONAS,
            {"version": 2, "changes": ["Stage 1: 5 % → 2 %", "+ a<b"], "reason": "start at 2 %, <!here>"},
            f"✎ <@{JONAS}> changed the plan to v2 (Stage 1: 5 % → 2 %; + a&lt;b), asked for with: "
            "start at 2 %, &lt;!here&gt;; earlier approvals no longer count.",
        ),
        (
            Happening.PLAN_REVISED,
            JONAS,
            {"version": 2},
            f"✎ <@{JONAS}> changed the plan to v2; earlier approvals no longer count.",
        ),
        (
            Happening.EXPOSURE_LOWERED,
            JONAS,
            {"before": "25 %", "target": "5 %", "reason": "busy"},
            f"◀ <@{JONAS}> is lowering it from 25 % to 5 %, where it pauses: busy",
        ),
        (
            Happening.CONFIRMATION_GIVEN,
            JONAS,
            {"action": "lower", "flag": "search", "environment": "production", "percent": 5},
            f"✔ <@{JONAS}> confirmed it: lower search in production to 5 %.",
        ),
        (Happening.PAUSED, JONAS, {"reason": "lunch"}, f"⏸ <@{JONAS}> paused it: lunch · What ends it: not said"),
        (
            Happening.ROLLED_BACK,
            "sluice",
            {"exposure": "0 %", "seconds": 0.31},
            "↩ Rolled back: read back as 0 % after 0.31 s.",
        ),
    ],
)
def test_lines(what: Happening, actor: str, facts: dict[str, Any], said: str) -> None:
    assert line(what, actor, facts) == said
