"""The shop's checkout: two code paths, the new one a little better, and a fault that can break the new one."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Label = Annotated[str, Field(min_length=1, max_length=60)]
Sleep = Callable[[float], Awaitable[None]]


class Step(StrEnum):
    OPEN = "open"  # the checkout page is shown
    PAY = "pay"  # the order is paid


class Visit(BaseModel):
    """Who is checking out; `session` ties the payment to the page that was opened before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer: Label
    tenant: Label
    region: Label
    session: Label


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the payment provider treats one code path: its median answer in ms, lognormal spread, share of declines."""

    median_ms: float
    spread: float
    decline_rate: float


CLASSIC = Behaviour(median_ms=9.0, spread=0.45, decline_rate=0.08)
EXPRESS = Behaviour(median_ms=8.0, spread=0.45, decline_rate=0.07)
PAGE_SHARE = 0.35
"""Showing the page waits for the provider too (for a payment token), but not for as long."""


@dataclass(slots=True)
class Fault:
    """What can be broken in a code path: while `on`, that share of payments ends in an error."""

    share: float = 0.6
    on: bool = False


class CheckoutPath:
    """One implementation of the checkout. Declines and faults of two payments have nothing to do with each other."""

    def __init__(
        self, behaviour: Behaviour, random: Random, fault: Fault | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._behaviour = behaviour
        self._random = random
        self._fault = fault
        self._sleep = sleep

    async def run(self, step: Step) -> HTTPStatus:
        """Show the page or take the payment: 200, 402 for a declined card, 502 when the payment provider fails."""
        await self._sleep(self._provider_seconds(step))
        if step is Step.OPEN:
            return HTTPStatus.OK
        if self._fault is not None and self._fault.on and self._random.random() < self._fault.share:
            return HTTPStatus.BAD_GATEWAY
        declined = self._random.random() < self._behaviour.decline_rate
        return HTTPStatus.PAYMENT_REQUIRED if declined else HTTPStatus.OK

    def _provider_seconds(self, step: Step) -> float:
        median_ms = self._behaviour.median_ms * (PAGE_SHARE if step is Step.OPEN else 1.0)
        return self._random.lognormvariate(math.log(median_ms), self._behaviour.spread) / 1000
