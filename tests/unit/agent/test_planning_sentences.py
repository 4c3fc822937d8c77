"""What a plan may quote: whole sentences as they stand in the spec, the telemetry, or a person's words."""

import pytest

from agent.planning.sentences import Evidence, Quote, audience_lines, kpi_line, sentences, spec_sentences
from tools.plans.model import Source

FLOWING = """---
flag: f
kpis:
  - {metric: errors_total, direction: increase, margin: 3}
  - {metric: errors, direction: increase, margin: 1.8}
regions: [eu, us]
---
# Title
"""
BLOCKS = """---
flag: f
regions:
- eu
- us
kpis:
  - metric: "errors"
    direction: increase
    margin: 1.8

  - metric: orders
tenants: [acme]
---
"""


def test_a_text_is_read_as_people_read_it() -> None:
    text = """# Why
Paying takes three
pages. One in **four** leaves! Version 2.5 is
live.

- An item
  over two lines
1. Another. `code` too
```
not this one.
```
Last
"""
    assert sentences(text) == (
        "Paying takes three pages.",
        "One in **four** leaves!",
        "Version 2.5 is live.",
        "An item over two lines",
        "Another. `code` too",
        "Last",
    )


def test_a_specs_sentences_come_before_its_front_matter() -> None:
    assert spec_sentences("---\nflag: f\ntags: [a]\n---\n# T\nIt is new.\n") == ("It is new.", "flag: f", "tags: [a]")
    assert spec_sentences("It has none.") == ("It has none.",)
    assert spec_sentences("---\nflag: f\nnever closed") == ("flag: f never closed",)


def test_a_metrics_own_lines_are_found_in_either_form() -> None:
    assert kpi_line(FLOWING, "errors") == "{metric: errors, direction: increase, margin: 1.8}"
    assert kpi_line(BLOCKS, "errors") == 'metric: "errors" direction: increase margin: 1.8'
    assert kpi_line(BLOCKS, "orders") == "metric: orders"
    assert kpi_line(FLOWING, "orders") is None
    assert kpi_line("no front matter\n- metric: errors", "errors") is None


def test_the_lines_about_the_audience_are_found() -> None:
    assert audience_lines(FLOWING) == "regions: [eu, us]"
    assert audience_lines(BLOCKS) == "regions: - eu - us; tenants: [acme]"
    assert audience_lines("---\nflag: f\n---\n") is None


EVIDENCE = Evidence(
    spec=("**Failed checkouts** may rise.", "The API is new. It", "is slow."),
    telemetry=("errors: 6,000 requests/min and a base rate of 1 %.",),
    person=("start at 2 %", "only eu-west first"),
)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("“failed Checkouts may…”", Quote(Source.SPEC, "**Failed checkouts** may rise.")),
        ("6,000 requests/min", Quote(Source.TELEMETRY, "errors: 6,000 requests/min and a base rate of 1 %.")),
        ("7,000 requests/min", None),
        ("a base rate of", None),
        ("only eu-west first", Quote(Source.PERSON, "only eu-west first")),
        ("may rise", None),
        ("the spec says so", None),
        ("", None),
        ("S" * 10_000, None),
    ],
)
def test_a_quote_is_the_sentence_that_it_stands_in(said: str, found: Quote | None) -> None:
    assert EVIDENCE.find(said) == found


def test_words_over_two_sentences_are_found() -> None:
    evidence = Evidence(spec=("Cards are declined.", "Support hears of it."))
    assert evidence.find("declined. Support hears") == Quote(Source.SPEC, "Cards are declined. Support hears of it.")


@pytest.mark.parametrize(
    ("words", "percent", "named"),
    [
        ("start at 2 %", 2, True),
        ("start at 2%", 2, True),
        ("2 percent first", 2, True),
        ("2.0 % first", 2, True),
        ("12 % first", 2, False),
        ("0.2 % first", 2, False),
        ("2.5 % first", 2, False),
        ("2.5 % first", 2.5, True),
        ("stage 2", 2, False),
    ],
)
def test_a_percentage_is_named_only_as_one(words: str, percent: float, named: bool) -> None:
    assert (Evidence(person=(words,)).asked_percent(percent) is not None) is named
    # A spec asks for nothing.
    assert Evidence(spec=(words,)).asked_percent(percent) is None


def test_a_name_is_a_word_of_its_own() -> None:
    assert EVIDENCE.naming("eu-west") == Quote(Source.PERSON, "only eu-west first")
    assert EVIDENCE.naming("EU-West") is not None
    assert EVIDENCE.naming("eu") is None
    assert EVIDENCE.naming("api") == Quote(Source.SPEC, "The API is new. It")
    assert EVIDENCE.naming("a.i") is None
