"""What `sluice telemetry` prints: files for the systems that watch Sluice."""

from importlib import resources

FILES = {"dashboard": "dashboard.json", "alerts": "alerts.yaml"}


def file(name: str) -> str:
    """The text of one of FILES."""
    return resources.files("bot.telemetry").joinpath(FILES[name]).read_text(encoding="utf-8")
