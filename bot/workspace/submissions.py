"""What follows a modal's submission, as the app's acknowledgement says."""

from copy import deepcopy

from bot.workspace.blocks import check_view
from bot.workspace.errors import Refusal
from bot.workspace.records import Json, View
from bot.workspace.state import Workspace


def apply_response_action(workspace: Workspace, view: View, body: Json) -> dict[str, str]:
    """Close, clear, update or push; returns the errors to show at the inputs (block_id → sentence).

    Raises `Refusal` when the acknowledgement is not one that Slack understands.
    """
    match body.get("response_action"):
        case None:
            workspace.screens.close_view(view)
        case "clear":
            workspace.screens.close_views(view.user, everything=True)
        case "update":
            workspace.screens.update_view(view, _given(workspace, body))
        case "push":
            workspace.screens.push_view(view.user, _given(workspace, body))
        case "errors":
            return _errors(view, body)
        case _:
            raise Refusal("invalid_response_action")
    return {}


def _given(workspace: Workspace, body: Json) -> Json:
    given = body.get("view")
    if not isinstance(given, dict):
        raise Refusal("invalid_arguments", ["missing required field: view"])
    given = deepcopy(given)
    check_view(given, workspace.ready_files())
    return given


def _errors(view: View, body: Json) -> dict[str, str]:
    errors = body.get("errors")
    inputs = {block["block_id"] for block in view.blocks if block.get("type") == "input"}
    if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
        raise Refusal("invalid_errors", ["errors must name input blocks of the view by block_id"])
    return {str(block_id): str(sentence) for block_id, sentence in errors.items()}
