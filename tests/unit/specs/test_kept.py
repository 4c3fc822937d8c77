"""What is kept of what was read is bounded in number and in bytes."""

from tools.specs.answers import KEPT_ANSWERS, KEPT_BYTES, Contents
from tools.specs.repository import Blobs

QUARTER = KEPT_BYTES // 4


def test_what_was_not_used_for_longest_goes_when_there_are_too_many_bytes() -> None:
    contents = Contents[str]()
    for name in "abcd":
        contents.keep(name, bytes(QUARTER))
    assert contents.get("a") is not None
    contents.keep("e", b"x")
    assert [contents.get(name) is not None for name in "abcde"] == [True, False, True, True, True]
    assert contents.size == 3 * QUARTER + 1
    contents.keep("e", b"xyz")
    assert contents.size == 3 * QUARTER + 3


def test_there_are_never_too_many_small_ones() -> None:
    contents = Contents[int]()
    for number in range(KEPT_ANSWERS + 3):
        contents.keep(number, b"x")
    assert (len(contents.kept), contents.size, contents.get(2)) == (KEPT_ANSWERS, KEPT_ANSWERS, None)


async def test_a_blob_that_is_too_large_to_keep_is_read_all_the_same() -> None:
    fetched = list[str]()

    async def fetch(blob: str) -> bytes:
        fetched.append(blob)
        return bytes(KEPT_BYTES + 1 if blob == "large" else 1)

    blobs = Blobs()
    for _ in range(2):
        assert len(await blobs.read("large", fetch)) == KEPT_BYTES + 1
        assert len(await blobs.read("small", fetch)) == 1
    assert fetched == ["large", "small", "large"], "nothing large pushes out what is small"
