"""The blocks everything is made of, cut to Slack's limits so that building one never fails.

Limits: https://docs.slack.dev/reference/block-kit/blocks.
"""

from collections.abc import Iterator, Sequence

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ConfirmObject,
    ContextBlock,
    DividerBlock,
    HeaderBlock,
    ImageBlock,
    InteractiveElement,
    MarkdownTextObject,
    PlainTextObject,
    RawTextObject,
    SectionBlock,
    TableBlock,
)
from slack_sdk.models.blocks.basic_components import SlackFile

from bot.blocks.mrkdwn import bound, fitted, plain

MAX_BLOCKS = 50
# Slack refuses somewhat more than this with msg_blocks_too_long; tables are counted apart.
MAX_MESSAGE = 11_000
CHARACTERS_A_BLOCK = 20
MAX_TEXT = 3000
MAX_FIELD = 2000
MAX_CONTEXT = 2000
MAX_HEADER = 150
MAX_BUTTON = 75
MAX_CELL = 200
MAX_ALT_TEXT = 2000
MAX_MODAL_TITLE = 24

Dialog = tuple[str, str, str, str]
"""A confirm dialog: title, text, the word for yes and the word for no."""


def mrkdwn(text: str, most: int = MAX_TEXT) -> MarkdownTextObject:
    """Finished mrkdwn; verbatim, so that Slack makes no links or mentions of its own."""
    return MarkdownTextObject(text=fitted(bound(text), most) or " ", verbatim=True)


def words(text: str, most: int) -> PlainTextObject:
    """Plain text."""
    return PlainTextObject(text=plain(text, most) or " ", emoji=False)


def header(text: str) -> Block:
    """A large line."""
    return HeaderBlock(text=words(text, MAX_HEADER))


def section(*lines: str) -> Block:
    """Lines of finished mrkdwn."""
    return SectionBlock(text=mrkdwn("\n".join(line for line in lines if line)))


def columns(*fields: str) -> Block:
    """Finished mrkdwn side by side, two columns where there is room; narrow."""
    return SectionBlock(fields=[mrkdwn(field, MAX_FIELD) for field in fields[:10]])


def context(*lines: str) -> Block:
    """Small lines of finished mrkdwn."""
    return ContextBlock(elements=[mrkdwn("\n".join(line for line in lines if line), MAX_CONTEXT)])


def divider() -> Block:
    """A thin line."""
    return DividerBlock()


def picture(file_id: str, says: str) -> Block:
    """A picture that was uploaded to Slack; `says` is what it shows, in plain words."""
    return ImageBlock(slack_file=SlackFile(id=file_id), alt_text=plain(says, MAX_ALT_TEXT))


def table(rows: Sequence[Sequence[str]]) -> Block:
    """A table of plain text, the first row its heads."""
    cells = [[RawTextObject(text=plain(cell, MAX_CELL) or "–") for cell in row[:20]] for row in rows[:100]]
    return TableBlock(rows=cells, column_settings=[{"is_wrapped": True} for _ in rows[0][:20]])


def message(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of one message, the longest texts cut when together they are more than Slack takes."""
    kept = list(blocks[:MAX_BLOCKS])
    for most in (1500, 700, 300, 100):
        if sum(len(text.text) for text in _texts(kept)) + len(kept) * CHARACTERS_A_BLOCK <= MAX_MESSAGE:
            break
        for text in _texts(kept):
            text.text = fitted(text.text, most)
    return kept


def _texts(blocks: Sequence[Block]) -> Iterator[MarkdownTextObject]:
    for block in blocks:
        found = [getattr(block, "text", None), *(getattr(block, "fields", None) or ())]
        if isinstance(block, ContextBlock):
            found += block.elements
        yield from (text for text in found if isinstance(text, MarkdownTextObject))


def button(
    label: str, action_id: str, value: str, *, style: str | None = None, confirm: Dialog | None = None
) -> ButtonElement:
    """A button that carries an id; `confirm` is asked before it acts."""
    return ButtonElement(
        text=words(label, MAX_BUTTON),
        action_id=action_id,
        value=value,
        style=style,
        confirm=None if confirm is None else _dialog(confirm, "danger" if style == "danger" else None),
    )


def actions(*elements: InteractiveElement) -> Block:
    """A row of buttons and menus."""
    return ActionsBlock(elements=list(elements[:25]))


def _dialog(dialog: Dialog, style: str | None) -> ConfirmObject:
    title, text, yes, no = dialog
    return ConfirmObject(
        title=words(title, 100), text=words(text, 300), confirm=words(yes, 30), deny=words(no, 30), style=style
    )
