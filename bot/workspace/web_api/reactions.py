"""reactions.*"""

import re

from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.web_api.calling import Call, Methods

methods = Methods()
_NAME = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")


@methods("reactions.add")
def add(call: Call) -> Json:
    """The app reacts to a message."""
    return _react(call, remove=False)


@methods("reactions.remove")
def remove(call: Call) -> Json:
    """The app takes its reaction back."""
    return _react(call, remove=True)


def _react(call: Call, *, remove: bool) -> Json:
    name = call.text("name").strip(":")
    if not _NAME.fullmatch(name):
        raise Refusal("invalid_name")
    message = call.workspace.message(call.channel(), call.text("timestamp"))
    call.workspace.react(message, call.workspace.settings.bot_user_id, name, remove=remove)
    return {}
