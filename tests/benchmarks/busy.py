"""`python -m tests.benchmarks.busy`: Sluice with agent-sized jobs that never end, until SIGTERM.

Each waits for a model, reads its long answer, has the planner make a plan from a day of telemetry, and begins again.
"""

import asyncio
import json
import os
import random
from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncApp

import bot.serve
from agent.planner import PlanRequest
from bot.app import build_app
from bot.logs import configure_logs
from bot.services import Services
from bot.settings import load_settings

AGENTS, FLAG = 20, "new-checkout"
KIND = "agent"
THINKING_S = 2.0, 6.0
ANSWER = json.dumps({"messages": [{"role": "assistant", "content": "word " * 200} for _ in range(50)]})


async def main() -> None:
    """`sluice serve`, and the jobs."""
    employed = asyncio.Event()
    found: list[Services] = []

    def build(services: Services) -> AsyncApp:
        services.jobs.handle(KIND, lambda payload: _work(services, payload))
        found.append(services)
        return build_app(services)

    # The process is the real one, put together by its own code, but for one more kind of job.
    bot.serve.build_app = build  # type: ignore[attr-defined]
    employing = asyncio.create_task(_employ(found, employed))
    await bot.serve.serve(load_settings(None, os.environ), http=False, announce=lambda _: employed.set())
    employing.cancel()


async def _employ(found: list[Services], up: asyncio.Event) -> None:
    await up.wait()
    for number in range(AGENTS):
        await found[0].jobs.submit(KIND, f"thread-{number}", {"number": number})


async def _work(services: Services, payload: Mapping[str, Any]) -> None:
    patience = random.Random(payload["number"])
    request = PlanRequest(FLAG, services.settings.environment, None, "UMIRA0001")
    while True:
        await asyncio.sleep(patience.uniform(*THINKING_S))
        json.loads(ANSWER)
        await services.planner.propose(request)


if __name__ == "__main__":
    configure_logs()
    asyncio.run(main())
