"""A spec's text: what is taken, and what is refused with the file's name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.specs.base import InvalidSpec
from tools.specs.markdown import MAX_BYTES, Document, parse_spec, shelve


def parse(text: str | bytes) -> object:
    return parse_spec(Document("a.md", text.encode() if isinstance(text, str) else text))


def test_a_title_in_the_front_matter_wins_over_the_heading() -> None:
    spec = parse_spec(Document("a.md", b"---\nflag: a\ntitle: Said\n---\n## Heading ##\n"))
    assert spec.title == "Said"


@pytest.mark.parametrize(
    ("text", "title"),
    [("## Closed ##", "Closed"), ("text\n\n# Later\n", "Later"), ("#tag\n# C# is fine", "C# is fine")],
)
def test_the_first_heading_is_the_title(text: str, title: str) -> None:
    assert parse_spec(Document("a.md", f"---\nflag: a\n---\n{text}".encode())).title == title


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    spec = parse_spec(Document("a.md", b"\xef\xbb\xbf---\nflag: a\n---\n# A\n"))
    assert spec.content.startswith("---")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("---\nflag: a\n---\n", "title"),
        ("---\nflag: a\n# A\n", "not closed"),
        ("---\n---\n# A\n", "empty"),
        ("---\n- a\n---\n# A\n", "empty"),
        ("---\nflag: a\nfalg: b\n---\n# A\n", r"'falg'.*known fields: flag, title"),
        ("---\nflag: a\nbody: mine\n---\n# A\n", "'body'"),
        ("---\nflag: a\nsha256: mine\n---\n# A\n", "'sha256'"),
        ("---\nflag: 7\n---\n# A\n", "'flag'"),
        (
            "---\nflag: a\nauthor: mira\n---\n# A\n",
            r"'author': name the author by Slack user id, such as U0123ABCDEF\.",
        ),
        ("---\nflag: a\nauthor: 7\n---\n# A\n", "'author'"),
        ("---\nflag: a\ntags: urgent\n---\n# A\n", "'tags'"),
        ("---\nflag: a\ntags: [yes]\n---\n# A\n", r"'tags\.0'"),
        ("---\nflag: a\nflag: b\n---\n# A\n", r"line 3.*'flag' is there twice"),
        ("---\nflag: &x a\ntitle: *x\n---\n# A\n", "line 3: aliases"),
        ("---\nflag: !!python/object/apply:os.system [ls]\n---\n# A\n", "line 2"),
        ("---\nflag: a\ntitle: \x07\n---\n# A\n", "no valid YAML"),
        ("---\nflag: " + "[" * 5_000 + "\n---\n# A\n", "line 2: more than 100 levels"),
        ("---\nflag: a\nowner: 2026-13-45\n---\n# A\n", "ValueError"),
        ("---\nflag: a\nowner: 1" + ":59" * 300 + ".5\n---\n# A\n", "OverflowError"),
        (b"---\nflag: a\n---\n# A\n\0", "a NUL"),
        (b"---\nflag: \xff\n---\n# A\n", "byte 10 is not UTF-8"),
        (b"---\nflag: a\n---\n# A\n" + b"x" * MAX_BYTES, "larger than 256 KB"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(text: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"a\.md: .*{problem}"):
        parse(text)


@pytest.mark.parametrize(
    ("named", "author"),
    [
        ("author: UMIRA0001", "UMIRA0001"),
        ("owner: payments\nauthor: UMIRA0001", "UMIRA0001"),
        ("owner: UJONAS001\nauthor: UMIRA0001", "UMIRA0001"),
        ("owner: UJONAS001", "UJONAS001"),
        ("owner: payments", None),
        ("tags: [urgent]", None),
    ],
)
def test_the_author_is_who_is_named_or_an_owner_who_is_a_person(named: str, author: str | None) -> None:
    spec = parse_spec(Document("a.md", f"---\nflag: a\n{named}\n---\n# A\n".encode()))
    assert spec.author == author


@pytest.mark.parametrize("text", ["---\nowner: me\n---\n# A\n", "---\nflag: 7\n---\n# A\n", "---\nflag: ''\n---\n"])
def test_front_matter_without_a_flag_is_broken(text: str) -> None:
    shelf = shelve([Document("a.md", text.encode())])
    assert (shelf.by_flag, len(shelf.broken)) == ({}, 1)
    assert "a.md: 'flag' is missing" in shelf.broken[0]


def test_many_keys_take_no_long_time() -> None:
    keys = "\n".join(f"k{n}: 1" for n in range(2_000))
    with pytest.raises(InvalidSpec, match="'k0'"):
        parse(f"---\nflag: a\n{keys}\n---\n# A\n")


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: f"---\n{text}\n---\n# A".encode())))
def test_any_bytes_are_shelved_or_named(content: bytes) -> None:
    shelf = shelve([Document("a.md", content)])
    assert len(shelf.broken) + len(shelf.by_flag) <= 1
    assert all(sentence.startswith("a.md: ") for sentence in shelf.broken)
