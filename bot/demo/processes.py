"""Child processes of the demo: started, watched, and stopped for certain."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import Unavailable

STOP_SECONDS = 8.0
SHOWN_LINES = 15


class ChildFailed(Unavailable):
    """A process ended when it should not have, or not well; the message has its last words."""


@dataclass
class Child:
    """A process that may be started again after it ended. What it says is appended to `log`."""

    name: str
    command: Sequence[str]
    directory: Path
    environ: Mapping[str, str] = field(repr=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / f"{self.name}.log"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id. Raises ChildFailed when it is not running."""
        self.check()
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is for the parent, who stops the children in order."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self.directory,
                env=dict(self.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None, f"{self.name} was never started"
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end; kill it when it has not after a few seconds."""
        if self._signal(signal.SIGTERM):
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End it at once, without a chance to clean up (SIGKILL)."""
        if self._signal(signal.SIGKILL):
            await self.wait()

    def check(self) -> None:
        """Raise ChildFailed when it is not running."""
        if not self.running:
            status = "was never started" if self._process is None else f"ended ({self._process.returncode})"
            raise ChildFailed(f"{self.name} {status}.{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log, on lines of their own."""
        if not self.log.exists():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        return "".join(f"\n    {line}" for line in lines)

    def _signal(self, number: signal.Signals) -> bool:
        if self._process is None or self._process.returncode is not None:
            return False
        try:
            os.kill(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


async def run(name: str, command: Sequence[str], directory: Path, environ: Mapping[str, str], seconds: float) -> str:
    """The output of a command that ends by itself. Raises ChildFailed when it fails or takes longer than `seconds`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise ChildFailed(f"{name} took longer than {seconds:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = (output + complaint).decode(errors="replace").strip()
        raise ChildFailed(f"{name} failed ({process.returncode}): {said}")
    return output.decode(errors="replace")
