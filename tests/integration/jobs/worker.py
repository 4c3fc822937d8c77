"""A process that runs jobs until it is killed: `worker.py URL LEASE_SECONDS FILE`; jobs write their number there."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tools.clock import SystemClock
from tools.jobs.in_process import InProcessJobs
from tools.records.database import Database


async def main(url: str, lease: timedelta, path: Path) -> None:
    jobs = InProcessJobs(Database(url), SystemClock(), owner="one", lease=lease)

    async def hang(payload: Mapping[str, Any]) -> None:
        path.write_text(str(payload["n"]))
        await asyncio.sleep(60)

    jobs.handle("work", hang)
    await jobs.submit("work", "rollout-1", {"n": 1})
    await jobs.submit("work", "rollout-1", {"n": 2})
    await jobs.start()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], timedelta(seconds=int(sys.argv[2])), Path(sys.argv[3])))
