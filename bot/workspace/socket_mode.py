"""Socket Mode: up to ten WebSocket connections of the app, each delivery going to one of them.

Protocol: https://docs.slack.dev/apis/events-api/using-socket-mode/
"""

import asyncio
import itertools
import json
import logging
import secrets
import uuid
from typing import Literal

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from bot.workspace.delivery import Attempt, DeliveryFailed
from bot.workspace.records import Json
from bot.workspace.state import Workspace

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10
CONNECTION_SECONDS = 18_060
GRACE_SECONDS = 5.0
DisconnectReason = Literal["warning", "refresh_requested", "link_disabled", "too_many_websockets"]
_OUTAGE_CODE = 1013


class Connection:
    """One open connection, and the acknowledgements that are awaited on it."""

    def __init__(self, websocket: WebSocket, number: int) -> None:
        self.websocket = websocket
        self.number = number
        self.delivered = 0
        self.deadline: asyncio.Timeout | None = None
        self._awaited: dict[str, asyncio.Future[Json]] = {}

    async def deliver(self, envelope: Json, within: float) -> Json:
        """Send an envelope and wait for its acknowledgement. Raises `DeliveryFailed`."""
        envelope_id = envelope["envelope_id"]
        self.delivered += 1
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._awaited[envelope_id] = answer
        try:
            await self.send(envelope)
            return await asyncio.wait_for(answer, within)
        except TimeoutError:
            raise DeliveryFailed("timeout") from None
        except (WebSocketDisconnect, RuntimeError) as error:
            raise DeliveryFailed("connection_failed") from error
        finally:
            del self._awaited[envelope_id]

    async def listen(self) -> None:
        """Take acknowledgements until the app hangs up (`WebSocketDisconnect`) or `retire`d time is up."""
        async with asyncio.timeout(None) as self.deadline:
            while True:
                self.acknowledge(await self.websocket.receive_text())

    def retire(self, seconds: float) -> None:
        """Hang up in `seconds`, unless the app does so before."""
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    async def send(self, message: Json) -> None:
        """Send one JSON message."""
        await self.websocket.send_text(json.dumps(message))

    def acknowledge(self, text: str) -> None:
        """Take what the app sent; anything but an awaited acknowledgement is ignored, as Slack does."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        answer = self._awaited.get(str(message.get("envelope_id")))
        if answer is not None and not answer.done():
            payload = message.get("payload")
            answer.set_result(payload if isinstance(payload, dict) else {})

    def abandon(self) -> None:
        """The connection is gone: nothing will be acknowledged on it."""
        for answer in self._awaited.values():
            if not answer.done():
                answer.set_exception(DeliveryFailed("connection_failed"))


class SocketMode:
    """The connections of one app, and the tickets that allow to open one."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tickets: set[str] = set()
        self._turn = itertools.count()
        self._numbers = itertools.count(1)
        self.connections: list[Connection] = []

    def open_connection(self) -> str:
        """The address of one new connection."""
        ticket = secrets.token_urlsafe(24)
        self._tickets.add(ticket)
        base = self._workspace.base_url.replace("http", "ws", 1)
        return f"{base}/link/?ticket={ticket}&app_id={self._workspace.settings.app_id}"

    async def attempt(self, attempt: Attempt) -> Json:
        """Deliver over the next connection in turn. Raises `DeliveryFailed`."""
        if not self.connections:
            raise DeliveryFailed("no_connection")
        connection = self.connections[next(self._turn) % len(self.connections)]
        return await connection.deliver(_envelope(attempt), self._workspace.settings.ack_seconds)

    async def serve(self, websocket: WebSocket) -> None:
        """Hold one connection until either side ends it."""
        ticket = websocket.query_params.get("ticket", "")
        if self._workspace.faults.outage is not None or ticket not in self._tickets:
            await websocket.close(_OUTAGE_CODE)
            return
        self._tickets.discard(ticket)
        await websocket.accept()
        connection = Connection(websocket, next(self._numbers))
        if len(self.connections) >= MAX_CONNECTIONS:
            await self._disconnect(connection, "too_many_websockets")
            await websocket.close()
            return
        self.connections.append(connection)
        self._publish()
        try:
            await connection.send(self._hello())
            await connection.listen()
        except TimeoutError:
            await websocket.close()
        except WebSocketDisconnect:
            log.info("socket connection %s ended", connection.number)
        finally:
            self._retire(connection)
            connection.abandon()

    async def disconnect_all(self, reason: DisconnectReason = "refresh_requested", *, abruptly: bool = False) -> int:
        """Ask the app to reconnect (or just hang up, when `abruptly`); returns how many connections there were."""
        connections = list(self.connections)
        for connection in connections:
            if abruptly:
                self._retire(connection)
                connection.abandon()
                await connection.websocket.close(_OUTAGE_CODE)
            else:
                await self._disconnect(connection, reason)
        return len(connections)

    async def _disconnect(self, connection: Connection, reason: DisconnectReason) -> None:
        if connection.websocket.application_state is not WebSocketState.CONNECTED:
            return
        await connection.send({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-local"}})
        if reason != "warning":
            self._retire(connection)
            connection.retire(GRACE_SECONDS)

    def _retire(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self._publish()

    def _publish(self) -> None:
        self._workspace.feed.publish("connections", {"count": len(self.connections)})

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.connections),
            "debug_info": {
                "host": "applink-local",
                "build_number": 1,
                "approximate_connection_time": CONNECTION_SECONDS,
            },
            "connection_info": {"app_id": self._workspace.settings.app_id},
        }


def _envelope(attempt: Attempt) -> Json:
    envelope: Json = {
        "envelope_id": str(uuid.uuid4()),
        "type": attempt.kind,
        "payload": attempt.payload,
        "accepts_response_payload": attempt.kind != "events_api",
    }
    if attempt.kind == "events_api":
        envelope["retry_attempt"] = attempt.number
        envelope["retry_reason"] = attempt.reason
    return envelope
