"""files.*: uploads in three steps (ask for an address, send the bytes there, complete)."""

import secrets
from datetime import timedelta

from bot.workspace.errors import Refusal
from bot.workspace.records import File, Json, Message
from bot.workspace.web_api.calling import Call, Methods

MAX_FILE_BYTES = 10_000_000

methods = Methods()


@methods("files.getUploadURLExternal")
def get_upload_url(call: Call) -> Json:
    """An address that takes the bytes of one file."""
    workspace = call.workspace
    name = call.text("filename")
    length = call.text("length")
    if not length.isdigit() or int(length) < 1:
        raise Refusal("invalid_arguments", ["must be more than 0 [json-pointer:/length]"])
    if int(length) > MAX_FILE_BYTES:
        raise Refusal("file_upload_size_restricted")
    file = File(
        id=workspace.next_id("F"),
        name=name.replace("/", "_"),
        length=int(length),
        upload_token=secrets.token_urlsafe(24),
        created=int(workspace.clock.now().timestamp()),
        user=workspace.settings.bot_user_id,
        alt_text=call.optional("alt_txt") or "",
    )
    workspace.files[file.id] = file
    return {"upload_url": f"{workspace.base_url}/upload/v1/{file.upload_token}", "file_id": file.id}


@methods("files.completeUploadExternal")
def complete_upload(call: Call) -> Json:
    """Makes uploaded files part of the workspace, and shares them in a conversation if one is given."""
    workspace = call.workspace
    files = [_uploaded(call, entry) for entry in call.list_of("files") or []]
    if not files:
        raise Refusal("invalid_arguments", ["missing required field: files"])
    ready_at = workspace.clock.now() + timedelta(seconds=workspace.settings.file_seconds)
    for file in files:
        file.shared, file.ready_at = True, ready_at
    reference = call.optional("channel_id") or (call.optional("channels") or "").partition(",")[0]
    if reference:
        _share(call, reference, files)
    return {"files": [file.as_json(workspace.base_url) for file in files]}


@methods("files.info")
def info(call: Call) -> Json:
    """One file."""
    return {"file": _known(call).as_json(call.workspace.base_url), "comments": []}


@methods("files.delete")
def delete(call: Call) -> Json:
    """Takes a file of the app's own away; messages that show it show a gap."""
    file = _known(call)
    if file.user != call.workspace.settings.bot_user_id:
        raise Refusal("cant_delete_file")
    file.deleted, file.content = True, None
    return {}


def _known(call: Call) -> File:
    file = call.workspace.files.get(call.text("file"))
    if file is None or not file.shared:
        raise Refusal("file_not_found")
    if file.deleted:
        raise Refusal("file_deleted")
    return file


def _uploaded(call: Call, entry: object) -> File:
    if not isinstance(entry, dict):
        raise Refusal("invalid_arguments", ["must provide an object [json-pointer:/files]"])
    file = call.workspace.files.get(str(entry.get("id")))
    if file is None or file.content is None:
        raise Refusal("file_not_found")
    if file.shared:
        raise Refusal("invalid_arguments", ["already completed [json-pointer:/files]"])
    file.title = str(entry.get("title") or file.name)
    return file


def _share(call: Call, reference: str, files: list[File]) -> None:
    workspace = call.workspace
    channel = workspace.channel(reference)
    if workspace.settings.bot_user_id not in channel.members:
        raise Refusal("not_in_channel")
    workspace.post(
        Message(
            ts=workspace.next_ts(),
            channel=channel.id,
            user=workspace.settings.bot_user_id,
            text=call.optional("initial_comment") or "",
            thread_ts=call.optional("thread_ts"),
            bot_id=workspace.settings.bot_id,
            app_id=workspace.settings.app_id,
            files=[file.id for file in files],
        )
    )
