"""Whatever a model writes, Slack is given nothing that mentions anybody, hides an address or shows a picture."""

import html
import re
import unicodedata
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import texts
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


def test_a_megabyte_is_cut_at_once() -> None:
    for text in ("a" * 1_000_000, "[" * 1_000_000, "<@" * 500_000, "&amp;" * 200_000, "](" * 500_000, "![[(" * 250_000):
        assert len(prose(text)) <= MOST_PROSE


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
