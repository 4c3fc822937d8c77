"""`python -m bot.demo.shop`: the shop's checkout over HTTP, with its flag asked for on every request.

GET /checkout shows the page, POST /checkout pays; both take a visit (customer, tenant, region, session).
POST /fault breaks or mends the new code path, GET /health says how it goes.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.demo.assignment import Assignment, Assignments, ofrep_provider
from bot.demo.checkout import CLASSIC, EXPRESS, CheckoutPath, Fault, Sleep, Step, Visit
from bot.demo.telemetry import Row, Telemetry
from bot.workspace.browser import LoopbackGuard

MAX_BODY_BYTES = 4096
OWN_HOSTS = ("127.0.0.1", "localhost")
WORDS = {
    HTTPStatus.OK: "Thank you.",
    HTTPStatus.PAYMENT_REQUIRED: "Your card was declined.",
    HTTPStatus.BAD_GATEWAY: "The payment did not go through.",
}


class FaultOrder(BaseModel):
    """Break the new code path, or mend it."""

    model_config = ConfigDict(extra="forbid")

    on: bool


@dataclass(frozen=True, slots=True)
class Names:
    """What the shop calls its flag and the flag's two variants."""

    flag: str
    environment: str
    control: str
    treatment: str


class Shop:
    """The service. Every path that runs leaves a row, also the one that runs in shadow."""

    def __init__(
        self,
        names: Names,
        assignments: Assignments,
        telemetry: Telemetry,
        random: Random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._names = names
        self._assignments = assignments
        self._telemetry = telemetry
        self._fault = Fault()
        self._paths = {
            names.control: CheckoutPath(CLASSIC, random, sleep=sleep),
            names.treatment: CheckoutPath(EXPRESS, random, self._fault, sleep),
        }
        self._beside = set[asyncio.Task[HTTPStatus]]()

    def routes(self) -> list[Route]:
        """Everything the shop serves."""
        return [
            Route("/checkout", self._open, methods=["GET"]),
            Route("/checkout", self._pay, methods=["POST"], max_body_size=MAX_BODY_BYTES),
            Route("/fault", self._switch, methods=["POST"], max_body_size=MAX_BODY_BYTES),
            Route("/health", self._health, methods=["GET"]),
        ]

    async def finish(self) -> None:
        """Wait for what still runs in shadow."""
        await asyncio.gather(*self._beside)

    async def _open(self, request: Request) -> Response:
        return await self._check_out(Step.OPEN, dict(request.query_params))

    async def _pay(self, request: Request) -> Response:
        return await self._check_out(Step.PAY, await _json(request))

    async def _check_out(self, step: Step, plain: object) -> Response:
        try:
            visit = Visit.model_validate(plain)
        except ValidationError as error:
            return _refusal(error)
        began = time.perf_counter()
        assignment = await self._assignments.of(visit)
        if assignment.shadow in self._paths:
            self._run_beside(step, visit, assignment.shadow)
        served = self._served(assignment)
        status = await self._run(step, visit, served, began, flag_error=served.error)
        return JSONResponse({"checkout": served.variant, "says": WORDS[status]}, status)

    def _served(self, assignment: Assignment) -> Assignment:
        """The assignment, or control when it names a path that the shop does not have."""
        if assignment.variant in self._paths:
            return assignment
        return Assignment(self._names.control, error=f"unknown variant {assignment.variant!r}"[:200])

    def _run_beside(self, step: Step, visit: Visit, variant: str) -> None:
        running = self._run(step, visit, Assignment(variant), time.perf_counter(), shadow=True)
        task = asyncio.create_task(running)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _run(
        self,
        step: Step,
        visit: Visit,
        served: Assignment,
        began: float,
        *,
        shadow: bool = False,
        flag_error: str | None = None,
    ) -> HTTPStatus:
        status = await self._paths[served.variant].run(step)
        self._telemetry.add(
            Row(
                at=time.time(),
                step=step.value,
                session=visit.session,
                flag=self._names.flag,
                environment=self._names.environment,
                variant=served.variant,
                shadow=shadow,
                customer=visit.customer,
                tenant=visit.tenant,
                region=visit.region,
                status=status.value,
                latency_ms=(time.perf_counter() - began) * 1000,
                flag_error=flag_error,
            )
        )
        return status

    async def _switch(self, request: Request) -> Response:
        try:
            self._fault.on = FaultOrder.model_validate(await _json(request)).on
        except ValidationError as error:
            return _refusal(error)
        return JSONResponse({"on": self._fault.on})

    async def _health(self, request: Request) -> Response:
        healthy = self._telemetry.healthy
        state = {"healthy": healthy, "requests": self._telemetry.answered, "fault": self._fault.on}
        return JSONResponse(state, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)


def build_shop(shop: Shop) -> Starlette:
    """The shop's ASGI application, for this machine only."""
    return Starlette(routes=shop.routes(), middleware=[Middleware(LoopbackGuard, allowed_hosts=OWN_HOSTS)])


@asynccontextmanager
async def open_shop(names: Names, ofrep_url: str, telemetry_path: Path, seed: int) -> AsyncIterator[Starlette]:
    """The application with its flag client and its telemetry, which are closed in the end."""
    async with Telemetry.open(telemetry_path) as telemetry:
        assignments = Assignments(ofrep_provider(ofrep_url), names.flag, names.control)
        shop = Shop(names, assignments, telemetry, Random(seed))  # noqa: S311 - chance, not secrets
        try:
            yield build_shop(shop)
        finally:
            await shop.finish()
            assignments.close()


async def _json(request: Request) -> object:
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


def _refusal(error: ValidationError) -> Response:
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the request"
    return JSONResponse({"error": f"{where}: {first['msg']}"}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    names = Names(arguments.flag, arguments.environment, arguments.control, arguments.treatment)
    async with open_shop(names, arguments.ofrep_url, arguments.telemetry, arguments.seed) as app:
        config = uvicorn.Config(
            app, host="127.0.0.1", port=arguments.port, lifespan="off", log_level="warning", access_log=False
        )
        await uvicorn.Server(config).serve()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m bot.demo.shop", description="A shop whose checkout has a flag.")
    parser.add_argument("--port", type=int, required=True, help="the port on 127.0.0.1")
    parser.add_argument("--ofrep-url", required=True, help="the flag service's address, without /ofrep")
    parser.add_argument("--telemetry", type=Path, required=True, help="the SQLite database for the rows")
    parser.add_argument("--flag", default="new-checkout")
    parser.add_argument("--environment", default="production")
    parser.add_argument("--control", default="classic")
    parser.add_argument("--treatment", default="express")
    parser.add_argument("--seed", type=int, default=1, help="of the provider's chance")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
