"""`sluice init`: the files that a new installation begins with."""

from importlib.resources import files
from pathlib import Path

from tools.errors import Conflict, InvalidInput

FILES = ("sluice.toml", "manifest.yaml")


def write_files(folder: Path, *, force: bool) -> list[Path]:
    """Write the settings file and the Slack app's manifest.

    Raises Conflict rather than overwrite, unless forced, and InvalidInput for a folder that can't be written to.
    """
    targets = [folder / name for name in FILES]
    there = [str(target) for target in targets if target.exists()]
    if there and not force:
        raise Conflict(f"{' and '.join(there)} would be overwritten: move them away, or use --force.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in targets:
            target.write_text(template(target.name), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"Nothing can be written to {folder} ({error.strerror}): name another folder.") from None
    return targets


def template(name: str) -> str:
    """The text of a shipped file."""
    return (files("bot") / "templates" / name).read_text(encoding="utf-8")
