"""What people write, as words: Slack's tokens are taken apart, and people stay people."""

import pytest

from bot.listeners.hearing import is_for_another, words_of

ME = "USLUICE01"


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("<@USLUICE01> roll back new-checkout", "roll back new-checkout"),
        ("hey <@USLUICE01|sluice>, start it", "hey , start it"),
        ("<@USLUICE01>", ""),
        ("<@U0JONAS> approves", "<@U0JONAS> approves"),
        ("in <#C1|releases> and <#C2>", "in #releases and #C2"),
        ("<!here> <!channel|x> <!subteam^S1|@oncall> <!subteam^S2>", "@here @channel @oncall @subteam"),
        ("see <https://a.example/x|the doc> or <https://b.example>", "see https://a.example/x or https://b.example"),
        ("p95 &lt; 300 ms &amp;&amp; errors &gt; 2 %", "p95 < 300 ms && errors > 2 %"),
        ("&amp;lt;!channel&amp;gt;", "&lt;!channel&gt;"),
        ("line one\nline two", "line one\nline two"),
    ],
)
def test_words(written: str, heard: str) -> None:
    assert words_of(written, myself=ME) == heard


@pytest.mark.parametrize(
    ("written", "for_another"),
    [
        ("<@U0JONAS> what do you think?", True),
        ("  <@U0JONAS|jonas> look", True),
        ("<@U0JONAS> shall <@USLUICE01> go on?", False),
        ("<@USLUICE01> ask <@U0JONAS>", False),
        ("what does <@U0JONAS> think?", False),
        ("pause", False),
    ],
)
def test_who_is_meant(written: str, for_another: bool) -> None:
    assert is_for_another(written, myself=ME) is for_another
