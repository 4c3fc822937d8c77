"""Whatever a model writes, Slack is given nothing that mentions anybody, hides an address or shows a picture."""

import html
import re
import unicodedata
from datetime import UTC
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import texts
from bot.blocks.mrkdwn import escape
from bot.blocks.prose import MOST_PROSE, prose, prose_so_far

TOKEN = re.compile(r"<\s*[@#!]|<(?:https?|mailto|slack|javascript|data):|<[a-z/]", re.IGNORECASE)
BROADCAST = re.compile(r"@(?:channel|here|everyone)", re.IGNORECASE)
WEB_ADDRESS = re.compile(r"https?://[^\s<>\"'`|\[\]{}^()]+", re.IGNORECASE)

FRAGMENTS = (
    "<!channel>", "<!here|x>", "<!everyone>", "<@U0123ABC>", "<@U0123ABC|bob>", "<#C0123ABC|general>",
    "<!subteam^S0123|@oncall>", "<!date^1^{date}^https://evil.example|x>", "@channel", "@here", "@Everyone", "@bob",
    "&lt;", "&gt;", "&amp;", "&#60;", "&#x3C;", "&lt", "&#60", "&amp;lt;", "&AMP;", "&commat;", "&#8203;",
    "\u200b", "\u202e", "\u2060", "\ufeff", "\u00ad", "\u0000", "\r", "\u2028", "\u0085",
    "[", "]", "(", ")", "!", "<", ">", "|", "@", "#", "&", ";", ":", "\\", "`", "```", "*", "_", "~", "\n", " ", "\t",
    "[click](https://evil.example/x)", "[https://good.example](https://evil.example)", "![x](https://e.example/p.png)",
    "[ref]: https://evil.example", "[text][ref]", "<https://evil.example|good.example>", "<javascript:alert(1)|x>",
    "https://good.example@evil.example/", "https://", "http://", "www.", "://", "javascript:", "data:text/html,x",
    "https://аррӏе.com/", "https://evil.example\\@good.example", "https://e.example/?a=1&lt=2", "mailto:a@b.example",
    "channel", "here", "everyone", "word", "é", "日本", "🎉", "1 %", "a < b", "<= 3", "<3",
)  # fmt: skip
WRITTEN = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)), max_size=25).map("".join)


def seen_by_anybody(shown: str) -> list[str]:
    """The text as readers of different diligence may take it."""
    forms = [shown, unicodedata.normalize("NFKC", shown)]
    unescaped = shown
    for _ in range(4):
        unescaped = html.unescape(unescaped)
        forms += [unescaped, "".join(one for one in unescaped if unicodedata.category(one) != "Cf")]
    return forms


@given(WRITTEN)
@example("<!<!channel>channel>")
@example("< <!channel>")
@example("&<!here>lt;!channel&gt;")
@example("&[](javascript:x)lt;!channel>")
@example("@chan​nel <​!channel>")
@settings(max_examples=500)
def test_nobody_is_mentioned(text: str) -> None:
    for form in seen_by_anybody(prose(text)):
        assert not TOKEN.search(form), form
        assert not BROADCAST.search(form), form


@given(WRITTEN)
@example("https://www.<!date^1^{date}^https://evil.example|x>")
@example("https://a.example)<https://b.example>")
@example("https://a.example/(https://b.example@c.example/")
@settings(max_examples=500)
def test_no_address_is_hidden(text: str) -> None:
    shown = prose(text)
    assert "](" not in shown
    assert "][" not in shown
    assert not re.search(r"^\s*\[[^\]]*\]:", shown, re.MULTILINE)
    assert "![" not in shown or "](" not in shown
    for address in WEB_ADDRESS.findall(shown):
        place = urlsplit(address).netloc
        assert place.isascii(), address
        assert "@" not in place, address


@given(WRITTEN, st.integers(min_value=0, max_value=400))
@settings(max_examples=500)
def test_what_was_shown_of_a_text_stays_as_it_was(text: str, written: int) -> None:
    shown = prose_so_far(text[:written])
    assert f"{prose(text)}\n".startswith(shown.rstrip()) or not shown.strip()
    assert prose(text).startswith(shown) or shown.rstrip() == prose(text).rstrip()[: len(shown.rstrip())]


@given(st.text(alphabet="ab \n", min_size=200, max_size=600), st.integers(min_value=120, max_value=199))
def test_what_is_cut_ends_with_a_whole_line_and_says_so(text: str, most: int) -> None:
    shown = prose(text, most)
    if len("\n".join(text.splitlines())) <= most:
        assert shown == "\n".join(text.splitlines())
        return
    assert len(shown) <= most
    kept, _, note = shown.rpartition("\n")
    assert note == texts.PROSE_CUT
    assert text.startswith(kept)


def test_a_fence_that_is_cut_is_closed() -> None:
    shown = prose("```\n" + "x = 1\n" * 100, 200)
    assert shown.count("```") == 2
    shown = prose("> ~~~~\n" + "> x = 1\n" * 100, 200)
    assert shown.splitlines()[-2:] == ["> ~~~~", texts.PROSE_CUT]


def test_a_megabyte_is_cut_at_once() -> None:
    ticks = " ".join("`" * length for length in range(1, 1400))
    for text in (
        ticks,
        "a" * 1_000_000,
        "[" * 1_000_000,
        "<@" * 500_000,
        "&amp;" * 200_000,
        "](" * 500_000,
        "![[(" * 250_000,
    ):
        assert len(prose(text, zone=BERLIN)) <= MOST_PROSE


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("**bold** _it_\n- one\n> two\n| a | b |", "**bold** _it_\n- one\n> two\n| a | b |"),
        ("p95 < 300 ms, <5 % and <= 3", "p95 < 300 ms, <5 % and <= 3"),
        ("write to a@b.example", "write to a@b.example"),
        ("[the runbook](https://runbooks.example/x)", "the runbook (https://runbooks.example/x)"),
        ("[https://good.example](https://evil.example)", "https://evil.example"),
        ("[good.example](https://evil.example)", "https://evil.example"),
        ("[click](javascript:alert(1))", "click"),
        ("[click](evil.example)", "click (evil.example)"),
        ("<https://evil.example|good>", "good (https://evil.example)"),
        ("https://good.example@evil.example/x", "https://evil.example/x"),
        ("www.evil.example@good.example", "https://good.example"),
        ("https://evil.example\\@good.example", texts.ADDRESS_REMOVED),
        ("https://аррӏе.com/ü", "https://xn--80ak6aa92e.com/%C3%BC"),
        ("![alt](https://e.example/p.png) after", "alt after"),
        ("[![i](http://a.example)](https://evil.example)", "i (https://evil.example)"),
        ("see (https://a.example/x).", "see (https://a.example/x)."),
        ("https://w.example/Foo_(bar)", "https://w.example/Foo_(bar)"),
        ("https://r.example/@scope/x?a=1&copy=2#y", "https://r.example/@scope/x?a=1&copy=2#y"),
    ],
)
def test_what_is_written_and_what_is_shown(written: str, shown: str) -> None:
    assert prose(written) == shown


BERLIN = ZoneInfo("Europe/Berlin")
ABOUT_TIME = (
    "31 ", "Dec ", "Jan ", "2026 ", "23:30", ":15", " UTC", "2026-12-31", "T", "Z", "+00:00", " ", "`", "``", "```\n",
    "\n~~~\n", "> ", "-", "\n",
    "\t", "31 Dec 2026 23:30 UTC", "2026-12-31 23:30:15 UTC", "until ", "5 ", "04 h", ".", "https://e.example/?a=",
)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Until 31 Dec 2026 23:30 UTC.", "Until 01 Jan 2027 00:30 CET."),
        ("since 01 Jul 2026 12:00:05 UTC", "since 01 Jul 2026 14:00:05 CEST"),
        ("at 2026-12-31T23:30:15Z, or 2026-12-31 23:30 UTC", "at 01 Jan 2027 00:30:15 CET, or 01 Jan 2027 00:30 CET"),
        ("**31 Dec 2026 23:30 UTC**", "**01 Jan 2027 00:30 CET**"),
        ("`31 Dec 2026 23:30 UTC` in code", "`31 Dec 2026 23:30 UTC` in code"),
        ("```\n31 Dec 2026 23:30 UTC\n```\nthen", "```\n31 Dec 2026 23:30 UTC\n```\nthen"),
        ("https://e.example/?a=2026-12-31T23:30:15Z is it", "https://e.example/?a=2026-12-31T23:30:15Z is it"),
        ("30 Feb 2026 12:00 UTC, 23:30 UTC, 31 Dec 2026", "30 Feb 2026 12:00 UTC, 23:30 UTC, 31 Dec 2026"),
        ("31 Dec 2026 23:30 CET", "31 Dec 2026 23:30 CET"),
        ("not `it's 31 Dec 2026 23:30 UTC", "not `it's 31 Dec 2026 23:30 UTC"),
        ("``x ` 31 Dec 2026 23:30 UTC`` in code", "``x ` 31 Dec 2026 23:30 UTC`` in code"),
        ("`a` 31 Dec 2026 23:30 UTC `b`", "`a` 01 Jan 2027 00:30 CET `b`"),
        ("`curl https://e.example/ 31 Dec 2026 23:30 UTC`", "`curl https://e.example/ 31 Dec 2026 23:30 UTC`"),
    ],
)
def test_moments_are_in_the_readers_zone(written: str, shown: str) -> None:
    assert prose(written, zone=BERLIN) == shown
    assert prose(written) == prose(written, zone=UTC) == written


@pytest.mark.parametrize(
    "code",
    [
        "~~~\n{}\n~~~\n",
        "> ```\n> {}\n> ```\n",
        "````\n```\n{}\n````\n",
        "```\n~~~\n{}\n```\n",
        "- ```text\n  {}\n  ```\n",
        "``` python\n```x\n{}\n```\n",
        "> ~~~\n> {}\n",
    ],
)
def test_moments_in_fenced_code_are_as_they_were(code: str) -> None:
    text = code.format("31 Dec 2026 23:30 UTC") + "31 Dec 2026 23:30 UTC"
    assert prose(text, zone=BERLIN) == code.format("31 Dec 2026 23:30 UTC") + "01 Jan 2027 00:30 CET"


def test_code_in_a_line_of_its_own_opens_no_fence() -> None:
    assert prose("```x``` is it\n31 Dec 2026 23:30 UTC", zone=BERLIN) == "```x``` is it\n01 Jan 2027 00:30 CET"


@pytest.mark.parametrize(
    "written",
    [
        "Frozen from 24 Dec 2026 17:00 to 25 Dec 2026 08:00 UTC.",
        "Frozen from 24 Dec 2026 17:00 UTC to 25 Dec 2026 08:00.",
        "Frozen from 24 Dec 2026 17:00 UTC to 19:00 that day.",
        "from 2026-12-24T17:00 to 2026-12-25T08:00Z",
        "since 24 Dec 2026 17:00 UTC, until 5:00 PM",
    ],
)
def test_beside_a_time_that_names_no_zone_all_stay_in_utc(written: str) -> None:
    assert prose(written, zone=BERLIN) == written
    assert escape(written) == written


@given(st.lists(st.sampled_from(ABOUT_TIME), max_size=12).map("".join), st.integers(min_value=0, max_value=120))
@example("until 31 Dec 2026 23:30 UTC", 18)
@example("2026-12-31 23:30 UTC", 11)
@settings(max_examples=500)
def test_no_moment_is_shown_in_halves(text: str, written: int) -> None:
    shown = prose_so_far(text[:written], zone=BERLIN)
    assert f"{prose(text, zone=BERLIN)}\n".startswith(shown)


def test_what_may_become_a_moment_is_held_back() -> None:
    assert prose_so_far("It lasts until 31 ", zone=BERLIN) == "It lasts until "
    assert prose_so_far("It lasts until 31 Dec 2026 ", zone=BERLIN) == "It lasts until "
    assert prose_so_far("It serves 31 % of ", zone=BERLIN) == "It serves 31 % of "
