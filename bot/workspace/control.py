"""/control/…: what people do and what can go wrong, over JSON, for the page and for tests in another process."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workspace.errors import Refusal
from bot.workspace.faults import EVERY_METHOD
from bot.workspace.people import Outcome, People
from bot.workspace.records import Json
from bot.workspace.settings import Switch
from bot.workspace.socket_mode import SocketMode
from bot.workspace.state import Workspace
from tools.errors import InvalidInput, NotFound, SluiceError, Unavailable

SWITCH_SECONDS = 10.0
Body = TypeVar("Body", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Say(_Model):
    channel: str
    user: str
    text: str
    thread_ts: str | None = None


class Command(_Model):
    channel: str
    user: str
    command: str
    text: str = ""
    thread_ts: str | None = None


class Click(_Model):
    channel: str = ""
    ts: str = ""
    view_id: str | None = None
    action_id: str
    user: str
    block_id: str | None = None
    value: Any = None
    values: dict[str, Any] = Field(default_factory=dict)
    confirm: bool = True


class Submit(_Model):
    user: str
    values: dict[str, Any] = Field(default_factory=dict)


class Close(_Model):
    user: str
    everything: bool = False


class Suggest(_Model):
    action_id: str
    user: str
    typed: str = ""
    view_id: str | None = None
    channel: str = ""
    ts: str = ""


class UseShortcut(_Model):
    callback_id: str
    user: str
    channel: str = ""
    ts: str = ""


class React(_Model):
    channel: str
    ts: str
    user: str
    name: str
    remove: bool = False


class Stop(_Model):
    channel: str
    user: str
    thread_ts: str


class Home(_Model):
    user: str
    tab: Literal["home", "messages"] = "home"


class Edit(_Model):
    channel: str
    ts: str
    user: str
    text: str


class Remove(_Model):
    channel: str
    ts: str
    user: str


class RateLimitOrder(_Model):
    on: bool = True
    method: str = EVERY_METHOD
    times: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    retry_after: Annotated[int, Field(ge=0)] = 1


class OutageOrder(_Model):
    on: bool = True
    mode: Literal["unavailable", "refused"] = "unavailable"
    seconds: Annotated[float, Field(gt=0)] | None = None


class DisconnectOrder(_Model):
    reason: Literal["warning", "refresh_requested", "link_disabled"] = "refresh_requested"
    abruptly: bool = False


class DuplicatesOrder(_Model):
    copies: Annotated[int, Field(ge=1, le=10)]


class Control:
    """The endpoints. Every answer is JSON; an error is `{"error": code, "message": sentence}` with a 4xx status."""

    def __init__(self, workspace: Workspace, people: People, sockets: SocketMode) -> None:
        self._workspace = workspace
        self._people = people
        self._sockets = sockets

    def routes(self) -> list[Route]:
        """All routes below /control."""
        get: dict[str, Callable[[Request], Json]] = {
            "/control/state": self._state,
            "/control/channels/{channel}/messages": self._messages,
            "/control/messages/{channel}/{ts}": self._message,
            "/control/modals/{user}": self._modals,
            "/control/homes/{user}": self._home,
            "/control/calls": self._calls,
            "/control/calls/log": self._call_log,
            "/control/faults": lambda request: self._workspace.faults.as_json(),
            "/control/connections": self._connections,
        }
        post: dict[str, Callable[[Request], Awaitable[Json]]] = {
            "/control/say": self._say,
            "/control/command": self._command,
            "/control/click": self._click,
            "/control/suggest": self._suggest,
            "/control/shortcut": self._shortcut,
            "/control/views/{view_id}/submit": self._submit,
            "/control/views/{view_id}/close": self._close,
            "/control/react": self._react,
            "/control/stop": self._stop,
            "/control/home": self._open_home,
            "/control/edit": self._edit,
            "/control/delete": self._delete,
            "/control/dismiss": self._dismiss,
            "/control/idle": self._idle,
            "/control/reset": self._reset,
            "/control/faults/rate_limit": self._rate_limit,
            "/control/faults/outage": self._outage,
            "/control/faults/disconnect": self._disconnect,
            "/control/faults/duplicates": self._duplicates,
            "/control/faults/clear": self._clear,
            "/control/switches/{index:int}": self._press,
        }
        return [
            *[Route(path, _answering(_later(read)), methods=["GET"]) for path, read in get.items()],
            *[Route(path, _answering(act), methods=["POST"]) for path, act in post.items()],
        ]

    # --- reading

    def _state(self, request: Request) -> Json:
        workspace, settings = self._workspace, self._workspace.settings
        return {
            "number": workspace.feed.number,
            "team": {"id": settings.team_id, "name": settings.team_name},
            "app": {"id": settings.app_id, "bot_user_id": settings.bot_user_id, "name": settings.bot_real_name},
            "people": [person.id for person in settings.people],
            "users": [workspace.user_json(person) for person in workspace.users.values()],
            "groups": [
                {"id": group.id, "handle": group.handle, "members": list(group.members)}
                for group in workspace.groups.values()
            ],
            "channels": [
                {**channel.as_json(settings.bot_user_id), "members": channel.members}
                for channel in workspace.channels.values()
            ],
            "messages": [
                workspace.page_message(message)
                for messages in workspace.messages.values()
                for message in messages.values()
            ],
            "modals": {
                user: [workspace.screens.view_json(view) for view in workspace.screens.modal_stack(user)]
                for user in workspace.screens.modals
            },
            "homes": {user: workspace.screens.view_json(view) for user, view in workspace.screens.homes.items()},
            "prompts": workspace.prompts,
            "statuses": workspace.statuses_json(),
            "commands": [
                {"name": command.name, "description": command.description, "usage_hint": command.usage_hint}
                for command in settings.commands
            ],
            "shortcuts": [asdict(shortcut) for shortcut in settings.shortcuts],
            "switches": workspace.switches_json(),
            "faults": workspace.faults.as_json(),
            "tour": [asdict(step) for step in settings.tour],
            "parts": {person.id: person.part for person in settings.people if person.part},
            "connections": len(self._sockets.connections),
            "http_mode": settings.request_url is not None,
        }

    def _messages(self, request: Request) -> Json:
        workspace = self._workspace
        channel = workspace.channel(request.path_params["channel"])
        user, thread_ts = request.query_params.get("user"), request.query_params.get("thread_ts")
        if user is None:
            found = list(workspace.messages[channel.id].values())
        else:
            found = workspace.visible_messages(channel, workspace.person_named(user).id)
        return {
            "messages": [
                workspace.page_message(message)
                for message in found
                if thread_ts is None or thread_ts in (message.ts, message.thread_ts)
            ]
        }

    def _message(self, request: Request) -> Json:
        channel = self._workspace.channel(request.path_params["channel"])
        message = self._workspace.messages[channel.id].get(request.path_params["ts"])
        if message is None:
            raise Refusal("message_not_found")
        return {"message": self._workspace.page_message(message)}

    def _modals(self, request: Request) -> Json:
        person = self._workspace.person_named(request.path_params["user"])
        return {
            "views": [
                self._workspace.screens.view_json(view) for view in self._workspace.screens.modal_stack(person.id)
            ]
        }

    def _home(self, request: Request) -> Json:
        view = self._workspace.screens.homes.get(self._workspace.person_named(request.path_params["user"]).id)
        return {"view": None if view is None else self._workspace.screens.view_json(view)}

    def _calls(self, request: Request) -> Json:
        workspace = self._workspace
        return {
            "total": workspace.call_counts.total(),
            "methods": dict(workspace.call_counts),
            "errors": dict(workspace.error_counts),
        }

    def _call_log(self, request: Request) -> Json:
        method = request.query_params.get("method")
        return {
            "calls": [
                {"method": call.method, "arguments": call.arguments, "error": call.error, "at": call.at}
                for call in self._workspace.calls
                if method in (None, call.method)
            ]
        }

    def _connections(self, request: Request) -> Json:
        connections = self._sockets.connections
        return {"connections": [{"number": item.number, "delivered": item.delivered} for item in connections]}

    # --- people

    async def _say(self, request: Request) -> Json:
        order = await _read(request, Say)
        message = self._people.say(order.channel, order.user, order.text, order.thread_ts)
        return {"message": self._workspace.page_message(message)}

    async def _command(self, request: Request) -> Json:
        order = await _read(request, Command)
        outcome = await self._people.command(
            order.channel, order.user, order.command, order.text, thread_ts=order.thread_ts
        )
        return _outcome_json(outcome)

    async def _click(self, request: Request) -> Json:
        order = await _read(request, Click)
        details: dict[str, Any] = order.model_dump(include={"block_id", "value", "values", "confirm"})
        if order.view_id is not None:
            outcome = await self._people.click_in_view(order.view_id, order.action_id, order.user, **details)
        else:
            outcome = await self._people.click(order.channel, order.ts, order.action_id, order.user, **details)
        return _outcome_json(outcome)

    async def _suggest(self, request: Request) -> Json:
        order = await _read(request, Suggest)
        return {"options": await self._people.suggest(**order.model_dump())}

    async def _shortcut(self, request: Request) -> Json:
        order = await _read(request, UseShortcut)
        return _outcome_json(await self._people.shortcut(**order.model_dump()))

    async def _submit(self, request: Request) -> Json:
        order = await _read(request, Submit)
        return _outcome_json(await self._people.submit(request.path_params["view_id"], order.user, order.values))

    async def _close(self, request: Request) -> Json:
        order = await _read(request, Close)
        view_id = request.path_params["view_id"]
        return _outcome_json(await self._people.close(view_id, order.user, everything=order.everything))

    async def _react(self, request: Request) -> Json:
        order = await _read(request, React)
        self._people.react(order.channel, order.ts, order.user, order.name, remove=order.remove)
        return {}

    async def _stop(self, request: Request) -> Json:
        order = await _read(request, Stop)
        self._people.stop(order.channel, order.user, order.thread_ts)
        return {}

    async def _open_home(self, request: Request) -> Json:
        self._people.open_home(**(await _read(request, Home)).model_dump())
        return {}

    async def _edit(self, request: Request) -> Json:
        order = await _read(request, Edit)
        return {"message": self._workspace.page_message(self._people.edit(**order.model_dump()))}

    async def _delete(self, request: Request) -> Json:
        self._people.delete(**(await _read(request, Remove)).model_dump())
        return {}

    async def _dismiss(self, request: Request) -> Json:
        self._people.dismiss(**(await _read(request, Remove)).model_dump())
        return {}

    async def _idle(self, request: Request) -> Json:
        await self._people.idle()
        return {}

    # --- faults and switches

    async def _reset(self, request: Request) -> Json:
        self._workspace.reset()
        return {}

    async def _rate_limit(self, request: Request) -> Json:
        order = await _read(request, RateLimitOrder)
        faults = self._workspace.faults
        if order.on:
            faults.limit(order.method, times=order.times, seconds=order.seconds, retry_after=order.retry_after)
        else:
            faults.limits.clear()
        return self._faults()

    async def _outage(self, request: Request) -> Json:
        order = await _read(request, OutageOrder)
        if order.on:
            self._workspace.faults.begin_outage(order.mode, seconds=order.seconds)
            await self._sockets.disconnect_all(abruptly=True)
        else:
            self._workspace.faults.end_outage()
        return self._faults()

    async def _disconnect(self, request: Request) -> Json:
        order = await _read(request, DisconnectOrder)
        return {"disconnected": await self._sockets.disconnect_all(order.reason, abruptly=order.abruptly)}

    async def _duplicates(self, request: Request) -> Json:
        self._workspace.faults.duplicate((await _read(request, DuplicatesOrder)).copies)
        return self._faults()

    async def _clear(self, request: Request) -> Json:
        self._workspace.faults.clear()
        return self._faults()

    def _faults(self) -> Json:
        faults = self._workspace.faults.as_json()
        self._workspace.feed.publish("faults", faults)
        return faults

    async def _press(self, request: Request) -> Json:
        index, switches = request.path_params["index"], self._workspace.settings.switches
        if index >= len(switches):
            raise NotFound(f"There is no switch {index}; there are {len(switches)}.")
        status = await press(switches[index])
        self._workspace.press(index)
        return {"status": status}


async def press(switch: Switch) -> int:
    """POST to a switch's address from here (the page could not: another origin). Returns the HTTP status."""
    try:
        async with httpx.AsyncClient(timeout=SWITCH_SECONDS, trust_env=False) as client:
            response = await client.post(switch.url, json=switch.body)
    except httpx.HTTPError as error:
        raise Unavailable(f"The switch “{switch.label}” did not answer; is what it switches still running?") from error
    if response.is_error:
        raise Unavailable(f"The switch “{switch.label}” answered {response.status_code}.")
    return response.status_code


def _later(read: Callable[[Request], Json]) -> Callable[[Request], Awaitable[Json]]:
    async def act(request: Request) -> Json:
        return read(request)

    return act


def _answering(act: Callable[[Request], Awaitable[Json]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await act(request))
        except Refusal as refusal:
            return JSONResponse({"error": refusal.code, "message": str(refusal)}, status_code=422)
        except NotFound as error:
            return JSONResponse({"error": "not_found", "message": str(error)}, status_code=404)
        except SluiceError as error:
            return JSONResponse({"error": "refused", "message": str(error)}, status_code=409)

    return endpoint


async def _read(request: Request, model: type[Body]) -> Body:
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise InvalidInput(f"{where}: {first['msg']}.") from None


def _outcome_json(outcome: Outcome) -> Json:
    ack = outcome.ack
    return {
        "ok": outcome.ok,
        "delivered": ack is not None,
        "failure": ack.failure if ack else None,
        "seconds": ack.seconds if ack else None,
        "ack": ack.body if ack else None,
        "errors": outcome.errors,
        "notice": outcome.notice,
    }
