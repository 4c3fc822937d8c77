"""What a person typed after `/rollout`, understood: forgiving about typography, exact about meaning."""

import difflib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot import texts
from bot.blocks.mrkdwn import plain_name
from tools.errors import InvalidInput

ENVIRONMENT, STRATEGY, REASON = "--env", "--strategy", "--reason"

_TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "\u00a0": " ", "\u200b": ""}
)
_LONG_DASH = re.compile(r"(?:(?<=\s)|^)(?:[—–]|-[—–]|[—–]-)(?=\w)")
_LINK = re.compile(r"<(?:https?://|mailto:)[^<>|]*\|([^<>]*)>|<((?:https?://|mailto:)[^<>|]*)>")
_WORD = re.compile(r"""(--?[a-z]+=)?(?:"([^"]*)"|'([^']*)')(?=\s|$)|(\S+)""", re.IGNORECASE)
FLAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_OPTIONS = {
    "--env": ENVIRONMENT,
    "--environment": ENVIRONMENT,
    "-e": ENVIRONMENT,
    "--strategy": STRATEGY,
    "-s": STRATEGY,
    "--reason": REASON,
    "-r": REASON,
}
_MEANT = {
    "abort": "rollback",
    "override": "accept",
    "thaw": "unfreeze",
    "continue": "resume",
    "drop": "cancel",
    "go": "start",
    "hold": "pause",
    "log": "history",
    "ls": "list",
    "notifications": "notify",
    "settings": "notify",
    "next": "promote",
    "off": "kill",
    "revert": "rollback",
    "show": "status",
    "stop": "pause",
    "undo": "rollback",
    "withdraw": "cancel",
}


class NotUnderstood(InvalidInput):
    """What was typed is no command; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a subcommand takes. `words_are_reason`: what follows the flag is the reason, with or without its option."""

    flag: bool
    options: tuple[str, ...] = ()
    optional_flag: bool = False

    @property
    def words_are_reason(self) -> bool:
        return REASON in self.options


SHAPES: Mapping[str, Shape] = {
    "help": Shape(flag=False),
    "plan": Shape(flag=True, options=(ENVIRONMENT, STRATEGY), optional_flag=True),
    "start": Shape(flag=True, options=(ENVIRONMENT,), optional_flag=True),
    "status": Shape(flag=True, options=(ENVIRONMENT,), optional_flag=True),
    "list": Shape(flag=False),
    "notify": Shape(flag=False),
    "promote": Shape(flag=True, options=(ENVIRONMENT,)),
    "pause": Shape(flag=True, options=(ENVIRONMENT, REASON)),
    "resume": Shape(flag=True, options=(ENVIRONMENT,)),
    "rollback": Shape(flag=True, options=(ENVIRONMENT, REASON)),
    "cancel": Shape(flag=True, options=(ENVIRONMENT, REASON)),
    "kill": Shape(flag=True, options=(ENVIRONMENT, REASON)),
    "history": Shape(flag=True, options=(ENVIRONMENT,)),
    "why": Shape(flag=True, options=(ENVIRONMENT,)),
    "accept": Shape(flag=True, options=(ENVIRONMENT,)),
    "freeze": Shape(flag=True, options=(ENVIRONMENT,), optional_flag=True),
    "unfreeze": Shape(flag=True, options=(ENVIRONMENT,), optional_flag=True),
}


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand with what it was given; `flag` is empty only where the subcommand needs none.

    `spec` is the address of a document, named as the spec.
    """

    subcommand: str
    flag: str = ""
    environment: str | None = None
    strategy: str | None = None
    reason: str | None = None
    spec: str | None = None


def parse(text: str) -> Command:
    """The command that `text` means; nothing at all means a start. Raises NotUnderstood."""
    words = _words(text)
    subcommand = words.pop(0)[1].lower() if words else "start"
    if subcommand not in SHAPES:
        raise NotUnderstood(_unknown(subcommand))
    shape = SHAPES[subcommand]
    plain, options = _sorted_out(subcommand, shape, words)
    spec = _spec(subcommand, plain)
    flag = _flag(subcommand, shape, plain)
    if plain and not shape.words_are_reason:
        raise NotUnderstood(
            texts.TOO_MANY_WORDS.format(given=plain_name(plain[0]), example=_example(subcommand, shape))
        )
    if plain and REASON in options:
        raise NotUnderstood(
            texts.TOO_MANY_WORDS.format(given=plain_name(plain[0]), example=_example(subcommand, shape))
        )
    return Command(
        subcommand,
        flag,
        environment=_name(options.get(ENVIRONMENT)),
        strategy=options.get(STRATEGY),
        reason=options.get(REASON) or " ".join(plain) or None,
        spec=spec,
    )


def asks_for_dialog(text: str) -> Command | None:
    """The command, if a dialog asks for the rest: to freeze, accept, be notified, plan or start without saying what."""
    try:
        command = parse(text)
    except NotUnderstood:
        return None
    asks = command.subcommand in ("accept", "freeze", "notify") or (
        command.subcommand in ("plan", "start") and not command.flag
    )
    return command if asks else None


def _words(text: str) -> list[tuple[bool, str]]:
    """The words of `text`, each with whether it was quoted (and so can't be an option)."""
    unwrapped = _LINK.sub(lambda link: link.group(1) or link.group(2), text)
    straight = _LONG_DASH.sub("--", html.unescape(unwrapped).translate(_TYPOGRAPHY))
    words = []
    for match in _WORD.finditer(straight):
        option, double, single, bare = match.groups()
        if option:
            words.append((False, option + (double or single or "")))
        elif bare is None:
            words.append((True, double if double is not None else single))
        else:
            words.append((False, bare.strip("`") or bare))
    return words


def _sorted_out(subcommand: str, shape: Shape, words: list[tuple[bool, str]]) -> tuple[list[str], dict[str, str]]:
    """The words that are no option, and the options' values; a reason runs up to the next option."""
    plain, options = list[str](), dict[str, str]()
    rest = list(words)
    while rest:
        quoted, word = rest.pop(0)
        if quoted or not _is_option(word):
            plain.append(word)
            continue
        given, equals, value = word.partition("=")
        option = _option(subcommand, shape, given)
        if option in options:
            raise NotUnderstood(texts.OPTION_TWICE.format(option=option))
        values = [value] if equals else []
        while rest and (option == REASON or not values) and (rest[0][0] or not _is_option(rest[0][1])):
            values.append(rest.pop(0)[1])
        options[option] = " ".join(values).strip(' "')
        if not options[option]:
            raise NotUnderstood(texts.OPTION_WITHOUT_VALUE.format(option=option, example=texts.OPTION_EXAMPLES[option]))
    return plain, options


def _is_option(word: str) -> bool:
    return bool(re.match(r"--[A-Za-z]|-[A-Za-z](?:=|$)", word))


def _option(subcommand: str, shape: Shape, given: str) -> str:
    option = _OPTIONS.get(given.lower())
    if option is not None and option in shape.options:
        return option
    if not shape.options:
        raise NotUnderstood(texts.NO_OPTIONS.format(subcommand=subcommand, given=plain_name(given)))
    known = " and ".join(f"`{one}`" for one in shape.options)
    raise NotUnderstood(texts.UNKNOWN_OPTION.format(subcommand=subcommand, given=plain_name(given), known=known))


def _flag(subcommand: str, shape: Shape, plain: list[str]) -> str:
    """The flag, taken from the front of `plain`."""
    if not shape.flag:
        return ""
    if not plain:
        if shape.optional_flag:
            return ""
        raise NotUnderstood(texts.FLAG_MISSING.format(subcommand=subcommand))
    return _name(plain.pop(0)) or ""


def _spec(subcommand: str, plain: list[str]) -> str | None:
    """The address of the flag's spec, taken out of `plain`: what follows the flag of a plan and looks like one."""
    if subcommand != "plan":
        return None
    found = next((word for word in plain[1:] if word.lower().startswith("https://")), None)
    if found is not None:
        plain.remove(found)
    return found


def _name(given: str | None) -> str | None:
    """A flag's or an environment's name. Raises NotUnderstood when it can't be one."""
    if given is not None and not FLAG_NAME.fullmatch(given):
        raise NotUnderstood(texts.FLAG_ODD.format(given=plain_name(given)))
    return given


def _unknown(given: str) -> str:
    near = _MEANT.get(given) or next(iter(difflib.get_close_matches(given, SHAPES, n=1, cutoff=0.5)), None)
    if near is None:
        return texts.UNKNOWN_SUBCOMMAND_FAR.format(given=plain_name(given))
    return texts.UNKNOWN_SUBCOMMAND.format(given=plain_name(given), nearest=near)


def _example(subcommand: str, shape: Shape) -> str:
    return f"{subcommand} checkout-v2" if shape.flag else subcommand
