"""Several processes set flags of one file; one is killed again and again amid its writes."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.flag_files import FlagFiles
from tools.flags.base import FlagRef
from tools.flags.files.flagd import Flagd
from tools.plans.model import Exposure

REF = FlagRef("checkout", "production")
OTHER = FlagRef("search", "production")
WRITERS, WRITES, KILLS = 2, 15, 3
WITHIN_S = 60
WRITER = """
import asyncio, sys
from pathlib import Path
from tests.flag_files import FlagFiles
from tools.flags.base import FlagRef, FlagVersionConflict
from tools.flags.files.flagd import Flagd
from tools.plans.model import Exposure

async def main(folder, flag, writes):
    service, ref = FlagFiles(Path(folder), ".json", Flagd).service(timeout_s=30), FlagRef(flag, "production")
    print("ready", flush=True)
    while writes:
        state = await service.read(ref)
        try:
            after = Exposure(percent=(state.exposure.percent + 1) % 100)
            await service.write(ref, after, expected=state.version)
        except FlagVersionConflict:
            continue
        writes -= 1

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def _writer(folder: Path, flag: str, writes: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), flag, str(writes), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.timeout(120)
async def test_no_write_is_lost_and_none_is_half(tmp_path: Path) -> None:
    files = FlagFiles(tmp_path, ".json", Flagd)
    for ref in (REF, OTHER):
        files.define(ref)
    async with asyncio.timeout(WITHIN_S):
        writers = [await _writer(tmp_path, REF.flag, WRITES) for _ in range(WRITERS)]
        for _ in range(KILLS):
            victim = await _writer(tmp_path, OTHER.flag, 1_000_000)
            await asyncio.sleep(0.1)
            victim.kill()
            assert await victim.wait() == -signal.SIGKILL
            json.loads(files.path().read_text())
        assert [await writer.wait() for writer in writers] == [0] * WRITERS
    assert (await files.service().read(REF)).exposure == Exposure(percent=WRITERS * WRITES)
