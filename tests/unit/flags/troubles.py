"""What can go wrong between Sluice and a flag service over HTTP, for fakes that answer with it."""

from collections.abc import Awaitable, Callable

import httpx

from tools.flags.http import FlagApi

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


def answers(status: int, headers: dict[str, str] | None = None, text: str | None = None, **body: object) -> Answer:
    """An answer of that status, with a JSON body unless there is text."""

    async def answer(_request: httpx.Request) -> httpx.Response:
        if text is not None:
            return httpx.Response(status, text=text, headers=headers)
        return httpx.Response(status, json=body, headers=headers)

    return answer


def fails(error: type[httpx.TransportError]) -> Answer:
    """No answer."""

    async def answer(request: httpx.Request) -> httpx.Response:
        raise error("no", request=request)

    return answer


def lost(really: Answer) -> Answer:
    """The request is carried out, and its answer lost."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await really(request)
        raise httpx.ReadTimeout("no", request=request)

    return answer


def without_waiting(api: FlagApi) -> list[float]:
    """How long was waited, in seconds, from now on without waiting."""
    waited = list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    api._sleep = sleep
    return waited
