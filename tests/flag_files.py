"""Files of flags as people write them, for the services over them."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from tools.flags.base import FlagRef
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag
from tools.flags.files.options import FlagdOptions, GoFeatureFlagOptions
from tools.flags.files.service import FileFlagService

NEW: dict[type, dict[str, Any]] = {
    Flagd: {
        "state": "ENABLED",
        "variants": {"old": "classic", "new": "express"},
        "defaultVariant": "old",
        "targeting": {},
    },
    GoFeatureFlag: {"variations": {"old": "classic", "new": "express"}, "defaultRule": {"variation": "old"}},
}


@dataclass(frozen=True)
class FlagFiles:
    """A folder with a file of flags for each environment, in a vendor's format, as JSON or YAML."""

    folder: Path
    suffix: str
    kind: type[Flagd] | type[GoFeatureFlag]

    def path(self, environment: str = "production") -> Path:
        return self.folder / f"{environment}{self.suffix}"

    def service(self, *, timeout_s: float = 10, **options: Any) -> FileFlagService:
        """The service over the folder."""
        path = options.pop("path", self.folder / f"{{environment}}{self.suffix}")
        timeout = timedelta(seconds=timeout_s)
        if self.kind is Flagd:
            flagd = FlagdOptions(path=path, **options)
            return FileFlagService(Flagd(flagd), flagd, timeout=timeout, environment="production")
        goff = GoFeatureFlagOptions(path=path, **options)
        return FileFlagService(GoFeatureFlag(goff), goff, timeout=timeout, environment="production")

    def without_flags(self) -> None:
        """Make the file of production, with nothing in it."""
        self._write("production", {"flags": {}} if self.kind is Flagd else {})

    def define(self, ref: FlagRef, entry: dict[str, Any] | None = None) -> None:
        """Put a flag into its environment's file."""
        document = self.document(ref.environment) if self.path(ref.environment).exists() else {}
        flags = document.setdefault("flags", {}) if self.kind is Flagd else document
        flags[ref.flag] = NEW[self.kind] if entry is None else entry
        self._write(ref.environment, document)

    def document(self, environment: str = "production") -> dict[str, Any]:
        """What the file holds."""
        document: dict[str, Any] = yaml.safe_load(self.path(environment).read_text())
        return document

    def entry(self, ref: FlagRef) -> dict[str, Any]:
        """The flag in its file."""
        document = self.document(ref.environment)
        found: dict[str, Any] = document["flags"][ref.flag] if self.kind is Flagd else document[ref.flag]
        return found

    def _write(self, environment: str, document: dict[str, Any]) -> None:
        as_json, as_yaml = json.dumps(document, indent=2), yaml.safe_dump(document, sort_keys=False)
        self.path(environment).write_text(as_json if self.suffix == ".json" else as_yaml)
