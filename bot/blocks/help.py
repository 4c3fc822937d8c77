"""Help by example, with flags that there are."""

from collections.abc import Iterable, Sequence

from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import parts
from bot.blocks.mrkdwn import name

EXAMPLE, OTHER_EXAMPLE = "checkout-v2", "search-v3"


def help_blocks(running: Sequence[str] = (), flags: Sequence[str] = ()) -> list[Block]:
    """What Sluice does, and every subcommand in use.

    `running` are flags that are rolling out, `flags` those that there are: examples are about them where there are any.
    """
    live = name(next(iter((*running, *flags)), EXAMPLE))
    idle = name(next((one for one in flags if one not in running), OTHER_EXAMPLE if running else live))

    def examples(of: Iterable[tuple[str, str]]) -> list[str]:
        return [f"`/rollout {command.format(live=live, idle=idle)}`  {meaning}" for command, meaning in of]

    return [
        parts.header(texts.HELP_TITLE),
        parts.section(texts.HELP_INTRO),
        parts.section(texts.HELP_TRY, *examples(texts.HELP_EXAMPLES)),
        parts.section(texts.HELP_WHILE_RUNNING, *examples(texts.HELP_RUNNING_EXAMPLES)),
        parts.section(texts.HELP_LOOKING, *examples(texts.HELP_LOOKING_EXAMPLES)),
        parts.context(texts.HELP_FOOT),
    ]
