"""A shop in this process, whose flag is answered from memory."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from bot.demo.assignment import Assignments
from bot.demo.shop import Names, Shop, build_shop
from bot.demo.telemetry import Telemetry

NAMES = Names("new-checkout", "production", control="classic", treatment="express")
VISIT = {"customer": "customer-1", "tenant": "acme", "region": "eu-west", "session": "s-1"}


@dataclass
class Answers:
    """What the flag service says; `contexts` are the questions it was asked."""

    variant: str = "classic"
    shadow: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        self.contexts: list[EvaluationContext] = []

    def __call__(self, flag: InMemoryFlag[str], context: EvaluationContext) -> FlagResolutionDetails[str]:
        self.contexts.append(context)
        if self.error is not None:
            raise GeneralError(self.error)
        metadata: dict[str, Any] = {} if self.shadow is None else {"shadow": self.shadow}
        return FlagResolutionDetails(self.variant, variant=self.variant, reason=Reason.SPLIT, flag_metadata=metadata)


@dataclass(frozen=True)
class OpenShop:
    """The shop, its door, and its rows."""

    client: httpx.AsyncClient
    answers: Answers
    telemetry: Telemetry
    shop: Shop
    path: Path

    async def rows(self) -> list[dict[str, Any]]:
        """Every row, oldest first."""
        await self.shop.finish()
        await self.telemetry.flush()
        return [dict(row) for row in _read(self.path)]


def _read(path: Path) -> Iterator[sqlite3.Row]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        yield from connection.execute("SELECT * FROM checkout_requests ORDER BY rowid")
    finally:
        connection.close()


async def no_time(seconds: float) -> None:
    """Waiting that takes no time."""
    await asyncio.sleep(0)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[OpenShop]:
    answers = Answers()
    provider = InMemoryProvider({"new-checkout": InMemoryFlag("classic", {}, context_evaluator=answers)})
    path = tmp_path / "telemetry.db"
    async with Telemetry.open(path) as telemetry:
        assignments = Assignments(provider, NAMES.flag, NAMES.control)
        shop = Shop(NAMES, assignments, telemetry, Random(7), no_time)
        transport = httpx.ASGITransport(build_shop(shop))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield OpenShop(client, answers, telemetry, shop, path)
        assignments.close()
