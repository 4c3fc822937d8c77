"""Help by example."""

from collections.abc import Iterable

from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import parts


def help_blocks() -> list[Block]:
    """What Sluice does, and every subcommand in use."""
    return [
        parts.header(texts.HELP_TITLE),
        parts.section(texts.HELP_INTRO),
        parts.section(texts.HELP_TRY, *_examples(texts.HELP_EXAMPLES)),
        parts.section(texts.HELP_WHILE_RUNNING, *_examples(texts.HELP_RUNNING_EXAMPLES)),
        parts.section(texts.HELP_LOOKING, *_examples(texts.HELP_LOOKING_EXAMPLES)),
        parts.context(texts.HELP_FOOT),
    ]


def _examples(examples: Iterable[tuple[str, str]]) -> list[str]:
    return [f"`/rollout {command}`  {meaning}" for command, meaning in examples]
