"""`sluice demo`: a whole rollout on this machine, with people or (headless) playing them too."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.demo.journal import Journal
from bot.demo.operator import Operator, Outcome
from bot.demo.transcript import Transcript
from bot.demo.world import BREAK, FLAG, ROOT, DemoWorld, Traffic, model_environ
from tools.errors import SluiceError

HEADLESS_TRAFFIC = Traffic(seconds=150.0, requests=40_000)
INTERACTIVE_TRAFFIC = Traffic(seconds=1800.0, requests=400_000)
HEADLESS_LIMIT_S = 80.0
PROGRESS_EVERY_S = 60.0

WHAT_TO_TRY = """
  Open   {page}

  You can be anyone there: choose at “You are”. A tour on the page leads through this:

  1. As Mira, in #releases:   /rollout plan {flag}
     Wait ten seconds first: a plan needs a past to plan from.
  2. As Jonas, press [Approve] on the card. Mira can't approve what she asked for.
  3. Watch the card: 10 %, proven safe, 25 %; then Jonas is asked before 50 %.
  4. Press the switch “{switch}” beside the conversation, and watch it come back to 0 %.
  5. {talk}

  /rollout help shows the rest. Customers keep coming for {minutes:.0f} minutes. Ctrl-C ends everything.
"""
TALK = "Or talk: write “@sluice plan a rollout for {flag}”, and “start at 2 %” in its thread."
NO_TALK = "To talk to it instead, start the demo with a model: see “Talk to it” in README.md."


async def run(headless: bool, root: Path = ROOT) -> int:
    """Tell the story and return the exit status: 0, or 1 when something promised did not happen."""
    # A story is told here; what libraries note of every request is not part of it.
    logging.getLogger().setLevel(logging.WARNING)
    transcript = Transcript(sys.stdout)
    with _ended_by_signals():
        return await (_play(transcript, root) if headless else _host(transcript, root))


async def _play(transcript: Transcript, root: Path) -> int:
    outcome = Outcome()
    try:
        async with asyncio.timeout(HEADLESS_LIMIT_S), DemoWorld.open(HEADLESS_TRAFFIC, root) as world:
            await _start(world, transcript)
            async with Journal(world.database_url) as journal:
                operator = Operator(world, journal, transcript)
                outcome = operator.outcome
                await operator.play()
                await world.close_shop()
                await operator.verify_audit()
    except (SluiceError, TimeoutError, asyncio.CancelledError) as error:
        outcome.outcome = "failed"
        transcript.say(f"NOT KEPT: {_sentence(error)} The logs are in {root}.")
    sys.stdout.write(json.dumps(outcome.to_json()) + "\n")
    sys.stdout.flush()
    return 0 if outcome.outcome == "rolled_back" else 1


async def _host(transcript: Transcript, root: Path) -> int:
    model = model_environ(os.environ)
    try:
        async with DemoWorld.open(INTERACTIVE_TRAFFIC, root, model) as world:
            await _start(world, transcript)
            sys.stdout.write(_what_to_try(world.addresses.slack, talks=bool(model)) + "\n")
            sys.stdout.flush()
            with suppress(asyncio.CancelledError):
                await _keep_company(world, transcript)
            transcript.say("stopping")
    except SluiceError as error:
        transcript.say(f"It can't go on: {error}")
        return 1
    return 0


def _what_to_try(page: str, *, talks: bool) -> str:
    minutes = INTERACTIVE_TRAFFIC.seconds / 60
    talk = (TALK if talks else NO_TALK).format(flag=FLAG)
    return WHAT_TO_TRY.format(page=page, flag=FLAG, switch=BREAK, minutes=minutes, talk=talk)


def _sentence(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "The story was interrupted."
    return str(error) or f"The story took longer than {HEADLESS_LIMIT_S:g} s."


async def _start(world: DemoWorld, transcript: Transcript) -> None:
    transcript.say(f"starting in {world.directory}")
    await world.start()
    transcript.say(f"Slack's page  {world.addresses.slack}")
    transcript.say(f"Sluice        {world.addresses.sluice}   (sluice serve, process {world.sluice.pid})")
    transcript.say(f"the shop      {world.addresses.shop}   (process {world.shop.pid}) and its customers")


async def _keep_company(world: DemoWorld, transcript: Transcript) -> None:
    """Say now and then how it goes, until a process ends that should not."""
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        for child in (world.sluice, world.shop):
            child.check()
        health = await world.shop_health()
        broken = ", and the new checkout is broken" if health["fault"] else ""
        transcript.say(f"{health['requests']:,} requests so far{broken}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM cancel the story, which stops every process on its way out."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    signals = (signal.SIGINT, signal.SIGTERM)

    def end_once() -> None:
        # A second Ctrl-C must not keep the processes from being stopped, which takes seconds at most.
        if not task.cancelling():
            task.cancel()

    for one in signals:
        loop.add_signal_handler(one, end_once)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
