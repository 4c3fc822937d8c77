"""Files that people wrote are edited in place: what is not set stays as it was, to the character."""

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.flags.files import yaml_text
from tools.flags.files.json_text import JsonText
from tools.flags.files.text import NotEditable, NotReadable, Syntax, edited, edited_apart, edited_at_any_price
from tools.flags.files.yaml_text import YamlText, _Dumper

JSON_FILE = """{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
\t"flags" : {
    "other": {"state":"ENABLED",   "variants": {"a": 1.50, "b": 2}, "mine": [1,
        2]},
    "checkout": {
      "state": "ENABLED",
      "variants": { "on": true, "off": false },
      "unknown": {"kept": "\\u00e9 \\\\ \\"x\\" }"},
      "targeting": {"fractional": [["on", 10],
                                   ["off", 90]]}
    },
    "last": {"state": "DISABLED"}
  },
  "metadata": { }
}
"""

YAML_FILE = """# Flags of the shop; ask the checkout team before a change.
other: {variations: {a: 1, b: 2}, defaultRule: {variation: a}}   # one line

checkout:          # the new checkout
  variations:
    on: true       # express
    off: false
  # Who gets it:
  defaultRule:
    name: everyone # by key
    percentage:
      on: 10       # careful
      off: 90
  metadata:
    description: |
      The new checkout,
      in one page.

  trackEvents: true
# the end of checkout
last:
    variations: {"a": yes, 'b': 2026-01-01}
    defaultRule:
        variation: a
"""


def test_one_value_of_json_is_set_and_nothing_else_moves() -> None:
    after = edited(JsonText(), JSON_FILE, ("flags", "checkout"), _checkout({"targeting": {}}))
    assert after == JSON_FILE.replace(
        """{"fractional": [["on", 10],
                                   ["off", 90]]}""",
        "{}",
    )


def test_what_is_new_comes_last_on_lines_as_the_others() -> None:
    after = edited(JsonText(), JSON_FILE, ("flags", "checkout"), _checkout({"metadata": {"é": "ü"}, "more": 1}))
    added = ',\n      "metadata": {"\\u00e9": "\\u00fc"},\n      "more": 1'
    assert after == JSON_FILE.replace('["off", 90]]}', f'["off", 90]]}}{added}')


def test_members_of_an_object_are_set_one_by_one() -> None:
    variants = {"on": True, "off": False, "shadow": False}
    after = edited(JsonText(), JSON_FILE, ("flags", "checkout"), _checkout({"variants": variants}))
    assert '"variants": { "on": true, "off": false, "shadow": false }' in after
    assert '"kept": "\\u00e9 \\\\ \\"x\\" }"' in after


def test_an_empty_object_takes_members() -> None:
    assert edited(JsonText(), '{"a": {}}', ("a",), {"b": [1], "c": None}) == '{"a": {"b": [1],"c": null}}'


def _checkout(changes: dict[str, Any]) -> dict[str, Any]:
    return {**json.loads(JSON_FILE)["flags"]["checkout"], **changes}


def test_comments_and_other_flags_of_yaml_stay() -> None:
    entry = YamlText().parsed(YAML_FILE)["checkout"]
    rule = entry["defaultRule"] | {"percentage": {"on": 25, "off": 75}}
    after = edited(YamlText(), YAML_FILE, ("checkout",), entry | {"defaultRule": rule})
    assert after == YAML_FILE.replace("on: 10 ", "on: 25 ").replace("off: 90", "off: 75")


def test_what_is_new_in_yaml_comes_behind_the_last_value_and_its_comment() -> None:
    entry = YamlText().parsed(YAML_FILE)["checkout"]
    metadata = entry["metadata"] | {"sluice.write": "1234e567"}
    after = edited(YamlText(), YAML_FILE, ("checkout",), entry | {"metadata": metadata, "disable": True})
    assert after == YAML_FILE.replace(
        "      in one page.\n", "      in one page.\n    sluice.write: '1234e567'\n"
    ).replace("  trackEvents: true\n", "  trackEvents: true\n  disable: true\n")


def test_what_is_new_inside_the_last_member_comes_before_what_is_new_behind_it() -> None:
    text = "a:\n  b:\n    c: 1\n"
    after = edited(YamlText(), text, ("a",), {"b": {"c": 1, "d": 2}, "!": 3})
    assert after == "a:\n  b:\n    c: 1\n    d: 2\n  '!': 3\n"


def test_a_rule_of_yaml_that_becomes_another_is_written_as_a_block() -> None:
    entry = YamlText().parsed(YAML_FILE)["checkout"]
    after = edited(YamlText(), YAML_FILE, ("checkout",), entry | {"defaultRule": {"variation": "off"}})
    assert "  # Who gets it:\n  defaultRule:\n    variation: 'off'\n  metadata:\n" in after
    assert after.endswith(YAML_FILE[YAML_FILE.index("# the end of checkout") :])


def test_lines_end_as_they_did() -> None:
    windows = YAML_FILE.replace("\n", "\r\n")
    entry = YamlText().parsed(windows)["checkout"]
    after = edited(YamlText(), windows, ("checkout",), entry | {"disable": True, "targeting": [{"query": "x"}]})
    assert after.count("\n") == after.count("\r\n") == YAML_FILE.count("\n") + 3


@pytest.mark.parametrize("text", ["a: {b: 1}", "a: {b: 1} # why", '{"a": {"b": 1}}', "a:\n  b:", "a:\n  b: # none\n"])
def test_yaml_on_one_line(text: str) -> None:
    entry = YamlText().parsed(text)["a"]
    after = edited(YamlText(), text, ("a",), entry | {"b": [1, {"x": "on"}], "c": "off"})
    assert YamlText().parsed(after) == {"a": {"b": [1, {"x": "on"}], "c": "off"}}
    assert [part for part in ("# why", "# none") if part in text] == [
        part for part in ("# why", "# none") if part in after
    ]


def test_yaml_is_read_as_go_reads_it() -> None:
    text = (
        "on: off\nyes: no\nwhen: 2026-01-01\nat: 12:30\ntrue: TRUE\n1: 0x1f\nhalf: 1e-1\nnone: ~\nempty:\noctal: 0o17\n"
    )
    assert YamlText().parsed(text) == {
        "on": "off",
        "yes": "no",
        "when": "2026-01-01",
        "at": "12:30",
        "true": True,
        "1": 31,
        "half": 0.1,
        "none": None,
        "empty": None,
        "octal": 15,
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: &base {b: 1}\nother: *base\n",
        "a: &base\n  b: 1\nother: *base\n",
        "a: &base\n  b: 1\nother:\n  <<: *base\n",
        "a:\r  b: 1\r  x: 1\rc: 1\r",
        "a:\n  b: &one 1\nother: *one\n",
        "a:\n  x: 1\n  b: |+\n    text\n\n\nother: 1\n",
    ],
)
def test_what_shares_its_parts_is_left_alone(text: str) -> None:
    entry = YamlText().parsed(text)["a"]
    with pytest.raises(NotEditable, match="'a' shares parts with other values"):
        edited(YamlText(), text, ("a",), entry | ({"new": 1} if "x" in entry else {"b": 2}))
    assert "a" in YamlText().doubtful(text, ())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x: &x {b: 1}\na: *x # one\nz: 1\n", {"b": 2}),
        ("x: &x\n  b: 1\na: *x\nz: 1\n", {"b": 2, "c": [{"d": 1}]}),
        ("{x: &x {b: 1}, a: *x, z: *x}\n", {"b": 2}),
        ("x: &x {b: 1}\na:\n  c: *x # one\nz: 1\n", {"c": {"b": 1}, "d": 2}),
        ("x: &x {b: 1}\na:\n  c: *x # one\nz: 1\n", {"c": {"b": 2}}),
        ("x: &x\n  b: 1\na:\n  c: *x\nz: 1\n", {"c": {"b": 2, "e": 3}}),
        ("x: &x 1\na:\n  c: *x\nz: 1\n", {"c": 2}),
        ("a:\n  c:\n  - &r {b: 1}\n  - *r\n# two\nz: 1\n", {"c": [{"b": 1}, {"b": 1}], "d": True}),
        ("a:\n  c: [&r {b: 1}, *r]\nz: 1\n", {"c": [], "d": {"e": [1]}}),
    ],
)
def test_what_stands_for_another_is_replaced_and_the_other_stays(text: str, wanted: dict[str, Any]) -> None:
    after = edited(YamlText(), text, ("a",), wanted)
    assert YamlText().parsed(after) == {**YamlText().parsed(text), "a": wanted}
    assert "a" not in YamlText().doubtful(text, ())


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a: &a {b: 1}\nc: *a # why\n", 'a: {"b": 2}\nc: {b: 1} # why\n'),
        ("a: &a\n  b: 1\nc:\n  <<: *a\n  d: [*a, 1]\n", "a: &a\n  b: 2\nc:\n  <<: {b: 1}\n  d: [{b: 1}, 1]\n"),
        ("a: !!map &a\n  b: 1\nc: *a\n", "a: !!map &a\n  b: 2\nc: {b: 1}\n"),
        ("\ufeffa:\n  b: &one 1\nc: *one\n", "\ufeffa:\n  b: 2\nc: 1\n"),
        ("a:\n  b: 1 # plain\nc: 1\n", "a:\n  b: 2 # plain\nc: 1\n"),
    ],
)
def test_what_others_use_is_copied_for_them_where_it_must_be_changed(text: str, after: str) -> None:
    assert edited_apart(YamlText(), text, ("a",), {"b": 2}) == after


BASE = "base: &base {b: 0, d: 1}\n"
LENDER = "a: &a\n  <<: *base\n  b: 1\n"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (f"{LENDER}c: *a\ne: *a\n", f"{LENDER.replace('b: 1', 'b: 2')}c: {{b: 1, d: 1}}\ne: {{b: 1, d: 1}}\n"),
        (
            "a: &a\n  b: &b\n    <<: *base\n    d: 2\n  d: 1\nc: *a\ne: *b\n",
            "a: &a\n  b: 2\n  d: 1\nc: {b: {b: 0, d: 2}, d: 1}\ne: {b: 0, d: 2}\n",
        ),
    ],
)
def test_what_merges_and_overrides_is_copied_as_often_as_it_is_used(text: str, after: str) -> None:
    assert edited_apart(YamlText(), BASE + text, ("a",), {"b": 2, "d": 1}) == BASE + after


def test_what_overrides_may_be_merged_into_the_mapping_around_it() -> None:
    text = f"{BASE}a:\n  c: &c {{<<: *base, b: 1}}\n  <<: *c\n"
    assert YamlText().parsed(text)["a"] == {"b": 1, "d": 1, "c": {"b": 1, "d": 1}}


NO_TEXT = ["1_000", ".inf", "-.5", "1e+3", "1e999", "0777", "0o17", "~", "yes", "12:30", "2026-01-01 10:00:00 +02:00"]
TAGGED = ['!!float ".inf"', '!!timestamp "2026-01-01"', '!!timestamp "soon"', '!!binary "aGk="']


@pytest.mark.parametrize("written", [*NO_TEXT, *TAGGED, "2026-01-01T10:00:00.5Z", '"1"', "a b"])
def test_what_is_copied_keeps_its_kind_for_others(written: str) -> None:
    text = f"a: &a\n  b: 1\n  c: {written}\nd: *a\n"
    after = edited_apart(YamlText(), text, ("a",), {**YamlText().parsed(text)["a"], "b": 2})
    assert after == text.replace("b: 1", "b: 2").replace("*a", f"{{b: 1, c: {written}}}")


@pytest.mark.parametrize("plain", ["a, b", "it's {no}", "b[0]", "a#b", "what?", "a & b", "x:y", "http://x/y?z=1"])
def test_what_is_plain_on_its_own_line_is_copied_as_the_same_text(plain: str) -> None:
    text = f"a: &a\n  b: 1\n  {plain}: {plain}\nd: *a\n"
    after = edited_apart(YamlText(), text, ("a",), {"b": 2, plain: plain})
    assert YamlText().parsed(after)["d"] == {"b": 1, plain: plain}


def test_what_is_set_on_one_line_leaves_the_others_their_kind() -> None:
    others = ", ".join(f"n{number}: {written}" for number, written in enumerate([*NO_TEXT, *TAGGED]))
    text = f"a: {{b: 1, {others}}}\n"
    after = edited(YamlText(), text, ("a",), {**YamlText().parsed(text)["a"], "b": 2})
    assert after.replace('"', "") == text.replace("b: 1", "b: 2").replace('"', "")
    assert yaml.safe_load(after.replace("soon", "2026-01-02")) == {
        "a": {**yaml.safe_load(text.replace("soon", "2026-01-02"))["a"], "b": 2}
    }


def test_what_is_written_anew_leaves_the_others_their_kind() -> None:
    others = "".join(f"  n{number}: {written}\n" for number, written in enumerate([*NO_TEXT, *TAGGED]))
    text = f"a:\n{others}  b: |+\n    x\n\nz: 1\n"
    wanted = {**YamlText().parsed(text)["a"], "c": 2}
    with pytest.raises(NotEditable):
        edited(YamlText(), text, ("a",), wanted)
    assert edited_at_any_price(YamlText(), text, ("a",), wanted).startswith(f"a:\n{others}  b: ")


def test_tags_of_mappings_and_lists_change_nothing() -> None:
    text = "set: !!set {a, b}\nomap: !!omap [{a: 1}]\npairs: !!pairs [{a: [1]}, {a: 2}]\n"
    assert YamlText().parsed(text) == {
        "set": {"a": None, "b": None},
        "omap": [{"a": 1}],
        "pairs": [{"a": [1]}, {"a": 2}],
    }


def test_where_no_copy_can_be_made_all_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotReadable("it has 'b' twice")

    monkeypatch.setattr(yaml_text, "_copies", refuse)
    text, wanted = f"{BASE}{LENDER}c: *a\n", {"b": 2, "d": 1}
    with pytest.raises(NotEditable, match="'a' shares parts with other values"):
        edited_apart(YamlText(), text, ("a",), wanted)
    after = edited_at_any_price(YamlText(), text, ("a",), wanted)
    assert YamlText().parsed(after) == {**YamlText().parsed(text), "a": wanted}


@pytest.mark.parametrize(
    ("before", "behind"), [("a: {b: 1, c: ", "}\n"), ("a: &a\n  b: 1\n  c: ", "\nd: *a\n"), ("d: &d ", "\na: {c: *d}")]
)
def test_what_is_nested_too_deeply_is_refused_and_no_fault(before: str, behind: str) -> None:
    for levels in range(100, 500, 10):
        text = f"{before}{'{x: ' * levels}1{'}' * levels}{behind}"
        with suppress(NotReadable, NotEditable):
            wanted = {**YamlText().parsed(text)["a"], "b": 2}
            after = edited_at_any_price(YamlText(), text, ("a",), wanted)
            assert YamlText().parsed(after)["a"] == wanted


def test_what_can_not_be_copied_is_left_alone() -> None:
    with pytest.raises(NotEditable, match="'a' shares parts with other values"):
        edited_apart(YamlText(), "a: &a\n  b: |+\n    x\n\n  ? d\n  : 1\nc: *a\n", ("a",), {"b": 2})


@pytest.mark.parametrize("lead", ["&unused", "!!map", "!!map &unused # why"])
def test_what_stands_before_a_mapping_does_not_move_its_members(lead: str) -> None:
    text = f"a: {lead}\n  b: 1\nz: 1\n"
    after = edited(YamlText(), text, ("a",), {"b": 1, "c": {"d": 2}})
    assert after == text.replace("  b: 1\n", "  b: 1\n  c:\n    d: 2\n")


@pytest.mark.parametrize("text", ["a:\n  b: {c: 10}\n  d: 1\nz: 1\n", "{a: {b: {c: 10}, d: 1}, z: 1}\n"])
def test_a_byte_order_mark_stays_and_moves_nothing(text: str) -> None:
    wanted = {"b": {"c": 20}, "d": 1, "e": 3}
    assert edited(YamlText(), f"\ufeff{text}", ("a",), wanted) == f"\ufeff{edited(YamlText(), text, ('a',), wanted)}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &a {b: &b 1, c: *b}\nd: 1\n", set()),
        ("\ufeffa: &a {b: 1}\nc: *a\nd: {e: &b 1, f: *b}\n", {"a"}),
        ("a:\n  b: |+\n    c\n\nd: what is this? a & b\n", {"a"}),
        ("a:\n  b: |\n    c +\n\nd:\n  ? e\n  : 1\n", {"d"}),
        ("a: 1\rb: 2\r", {"a", "b"}),
        ("[&a 1, *a]", set()),
    ],
)
def test_what_may_not_be_editable_is_found_beforehand(text: str, found: set[str]) -> None:
    assert YamlText().doubtful(text, ()) == found
    assert YamlText().doubtful(text.replace("\r", "\n"), ()) == (found if "\r" not in text else set())


def test_what_is_merged_from_another_is_overridden() -> None:
    text = "base: &base\n  b: 1\na:\n  <<: *base\n  c: 1\n"
    after = edited(YamlText(), text, ("a",), {"b": 2, "c": 1})
    assert YamlText().parsed(after) == {"base": {"b": 1}, "a": {"b": 2, "c": 1}}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (
            "x: &x\n  a: {b: 1}\nflags:\n  <<: *x\n  c: 1\nz: 1\n",
            "x: &x\n  a: {b: 1}\nflags:\n  <<: *x\n  c: 1\n  a:\n    b: 2\nz: 1\n",
        ),
        (
            "x: &x {a: {b: 1}}\nflags: {<<: *x, c: 1}\n",
            'x: &x {a: {b: 1}}\nflags: {"a": {"b": 2}, "c": 1}\n',
        ),
    ],
)
def test_what_is_merged_whole_is_overridden(text: str, after: str) -> None:
    for edit in (edited, edited_apart):
        assert edit(YamlText(), text, ("flags", "a"), {"b": 2}) == after
    assert "a" not in YamlText().doubtful(text, ("flags",))


@pytest.mark.parametrize(
    "text",
    [
        "x: &x {a: {b: 1}, c: 1}\nflags: *x\n",
        "flags: &x\n  a: {b: 1}\n  c: 1\nz: *x\n",
        "x: &x {flags: {a: {b: 1}, c: 1}}\n<<: *x\n",
    ],
)
def test_where_all_values_are_shared_none_is_editable(text: str) -> None:
    for edit in (edited, edited_apart):
        with pytest.raises(NotEditable, match="'a' shares parts with other values"):
            edit(YamlText(), text, ("flags", "a"), {"b": 2})
    assert YamlText().doubtful(text, ("flags",)) == {"a", "c"}


@pytest.mark.parametrize(
    ("syntax", "text", "message"),
    [
        (JsonText(), '{"a": 1,\n}', "it is no JSON at line 2, column 1"),
        (JsonText(), "", "it is no JSON at line 1"),
        (JsonText(), '{"a": 1, "a": 2}', "it has 'a' twice in one object"),
        (JsonText(), '{"a": NaN}', "NaN is no JSON"),
        (JsonText(), "[" * 200_000, "nested too deeply"),
        (YamlText(), "a: [1\nb: 2\n", "it is no YAML at line 2"),
        (YamlText(), "a: 1\na: 2\n", "it has 'a' twice"),
        (YamlText(), "? [1]\n: 2\n", "a name is no text at line 1"),
        (YamlText(), "a: !!python/object:os.system {}\n", "it is no YAML"),
        (YamlText(), "a: !!int x\n", "a value that is none"),
        (YamlText(), "a: !!bool x\n", "a value that is none"),
        (YamlText(), "a: !!float ''\n", "a value that is none"),
        (YamlText(), "a: !!map [1]\n", "a value has the tag of another kind at line 1"),
        (YamlText(), "a: {<<: {b: 1, b: 2}}\n", "it has 'b' twice"),
        (YamlText(), "--- 1\n--- 2\n", "it is no YAML"),
    ],
)
def test_what_cannot_be_read_is_named(syntax: Syntax, text: str, message: str) -> None:
    with pytest.raises(NotReadable, match=message):
        syntax.parsed(text)


NAMES = st.sampled_from(["on", "off", "a b", "é", "1", "true", "~", "#x", "'q'", '"', "x: y", "-", "1e3", "0o7"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 100).map(lambda x: round(x, 3)) | NAMES
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
ENTRIES = st.dictionaries(NAMES, VALUES, max_size=4)

DOCUMENTS = st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=3)
INDENTS = st.sampled_from([None, 1, 2, 4, "\t"])


@settings(max_examples=40)
@given(DOCUMENTS, ENTRIES, INDENTS, st.data())
def test_any_json_becomes_what_is_asked(
    document: dict[str, Any], changes: dict[str, Any], indent: int | str | None, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(document)))
    text = json.dumps(document, indent=indent)
    _becomes(JsonText(), text, document, name, changes)


@settings(max_examples=40)
@given(DOCUMENTS, ENTRIES, st.sampled_from([False, None, True]), st.integers(2, 5), st.data())
def test_any_yaml_becomes_what_is_asked(
    document: dict[str, Any], changes: dict[str, Any], flow: bool | None, indent: int, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(document)))
    text = yaml.dump(document, Dumper=_Dumper, default_flow_style=flow, indent=indent, allow_unicode=True)
    _becomes(YamlText(), text, YamlText().parsed(text), name, changes)


def _becomes(syntax: Syntax, text: str, document: dict[str, Any], name: str, changes: dict[str, Any]) -> None:
    wanted = {**document[name], **changes}
    after = edited(syntax, text, (name,), wanted)
    assert syntax.parsed(after) == {**document, name: wanted}
    assert edited(syntax, after, (name,), wanted) == after
