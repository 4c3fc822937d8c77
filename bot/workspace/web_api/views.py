"""views.*: modals and the Home tab."""

from copy import deepcopy

from bot.workspace.blocks import check_view
from bot.workspace.errors import Refusal
from bot.workspace.records import Json, View
from bot.workspace.web_api.calling import Call, Methods

methods = Methods()


@methods("views.open")
def open_view(call: Call) -> Json:
    """Opens a modal for the person whose trigger id is given."""
    given = _given_view(call, "modal")
    trigger = call.workspace.tickets.redeem_trigger(call.text("trigger_id"))
    return _answer(call, call.workspace.screens.open_view(trigger.user, given))


@methods("views.push")
def push_view(call: Call) -> Json:
    """Puts a modal on top of the one that is open."""
    given = _given_view(call, "modal")
    trigger = call.workspace.tickets.redeem_trigger(call.text("trigger_id"))
    return _answer(call, call.workspace.screens.push_view(trigger.user, given))


@methods("views.update")
def update_view(call: Call) -> Json:
    """Replaces what an open view shows."""
    view_id, external_id = call.optional("view_id"), call.optional("external_id")
    if view_id is None and external_id is None:
        raise Refusal("invalid_arguments", ["missing required field: view_id"])
    given = _given_view(call)
    view = call.workspace.screens.find_view(view_id=view_id, external_id=external_id)
    if view.type != given["type"]:
        raise Refusal("invalid_arguments", ["the type of a view can't change [json-pointer:/view/type]"])
    return _answer(call, call.workspace.screens.update_view(view, given, call.optional("hash")))


@methods("views.publish")
def publish_view(call: Call) -> Json:
    """Sets a person's Home tab."""
    given = _given_view(call, "home")
    user = call.workspace.user(call.text("user_id"))
    return _answer(call, call.workspace.screens.publish_home(user.id, given, call.optional("hash")))


def _given_view(call: Call, type_: str | None = None) -> Json:
    given = deepcopy(call.object_of("view"))
    check_view(given, call.workspace.ready_files())
    if type_ is not None and given["type"] != type_:
        raise Refusal("invalid_arguments", [f"must be of type {type_} [json-pointer:/view/type]"])
    return given


def _answer(call: Call, view: View) -> Json:
    return {"view": call.workspace.screens.view_json(view)}
