"""A connection that ends without an answer, as when nobody is there."""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "bot.workspace.transport"


class DroppableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which lets the application reach the connection that it answers on."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport where each request's scope can see it."""
        super().connection_made(transport)
        self.app_state: dict[str, Any] = {**self.app_state, _TRANSPORT: transport}


class DropConnection(Response):
    """Cuts the connection. On a server that is not ours it is a 503."""

    def __init__(self) -> None:
        super().__init__(status_code=503)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the connection under the request."""
        transport = scope.get("state", {}).get(_TRANSPORT)
        if transport is None:
            await super().__call__(scope, receive, send)
            return
        transport.abort()
