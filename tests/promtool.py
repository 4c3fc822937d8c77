"""Prometheus's own checker of rules, which comes with it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NEEDS_SERVERS


def promtool(*arguments: str, folder: Path) -> str:
    """What it says; it must be content. Skips where it is not installed, unless servers are demanded."""
    program = shutil.which("promtool")
    if program is None:
        missing = "no promtool: Prometheus is not installed"
        if os.environ.get(NEEDS_SERVERS):
            pytest.fail(missing)
        pytest.skip(missing)
    ran = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
