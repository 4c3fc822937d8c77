"""`python -m bot.workspace --port N`: serve a workspace until interrupted."""

import argparse
import asyncio
import signal
import sys

from bot.workspace.server import running_workspace
from bot.workspace.settings import WorkspaceSettings


async def serve(port: int, settings: WorkspaceSettings) -> None:
    """Serve until SIGINT or SIGTERM; the first line printed is the address."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with running_workspace(port, settings) as running:
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m bot.workspace", description="A Slack workspace on this machine.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1 (0: a free one)")
    parser.add_argument("--request-url", help="deliver over signed HTTP to this address instead of Socket Mode")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, WorkspaceSettings(request_url=arguments.request_url)))


if __name__ == "__main__":
    main()
