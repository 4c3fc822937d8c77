import os
import sys
import time
from pathlib import Path

import pytest

from bot.demo import processes
from bot.demo.processes import Child, ChildFailed, run

WAITS = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def _child(tmp_path: Path, code: str) -> Child:
    return Child("child", (sys.executable, "-c", code), tmp_path, os.environ)


async def _started(child: Child) -> Child:
    await child.start()
    deadline = time.monotonic() + 10
    while "up" not in child.last_words():
        assert time.monotonic() < deadline, "the child never said that it is up"
        child.check()
    return child


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_is_stopped_and_may_be_started_again(tmp_path: Path) -> None:
    child = _child(tmp_path, WAITS)
    for _ in range(2):
        pid = (await _started(child)).pid
        await child.stop()
        assert not child.running
        assert not _exists(pid)
    await child.stop()


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.05)
    child = await _started(_child(tmp_path, DEAF))
    pid = child.pid
    await child.stop()
    assert await child.wait() == -9
    assert not _exists(pid)


async def test_a_child_that_ended_is_named_with_its_last_words(tmp_path: Path) -> None:
    child = _child(tmp_path, "print('I had no port'); raise SystemExit(3)")
    with pytest.raises(ChildFailed, match="never started"):
        child.check()
    await child.start()
    assert await child.wait() == 3
    with pytest.raises(ChildFailed, match=r"child ended \(3\)\.\n    I had no port"):
        child.check()


async def test_a_command_gives_its_output_or_says_what_went_wrong(tmp_path: Path) -> None:
    async def python(code: str, seconds: float = 30) -> str:
        return await run("a command", (sys.executable, "-c", code), tmp_path, os.environ, seconds)

    assert await python("print('done')") == "done\n"
    with pytest.raises(ChildFailed, match=r"a command failed \(2\): no such flag"):
        await python("import sys; sys.stderr.write('no such flag'); sys.exit(2)")
    with pytest.raises(ChildFailed, match=r"a command took longer than 0\.2 s"):
        await python("import time; time.sleep(60)", 0.2)
