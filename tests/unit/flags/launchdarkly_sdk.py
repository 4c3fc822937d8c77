"""LaunchDarkly's server-side SDK, unmodified, over what the fake keeps instead of a stream of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from ldclient.client import LDClient
from ldclient.config import Config
from ldclient.context import Context
from ldclient.versioned_data_kind import FEATURES, SEGMENTS

from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly

NOTHING = "the code's default"


class _AtHand:
    """A data source that is told what there is."""

    def __init__(self, _config: Config, store: Any, ready: Event) -> None:
        store.init({FEATURES: {}, SEGMENTS: {}})
        ready.set()

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def initialized(self) -> bool:
        return True


@dataclass(frozen=True)
class Sdk:
    """The client, and what it serves of a flag."""

    server: FakeLaunchDarkly
    client: LDClient
    flag: str

    def serves(self, context: Context) -> object:
        """The value for one context."""
        return self.client.variation(self.flag, context, NOTHING)

    def exposed(self, keys: int = 200, value: object = "new", **attributes: str) -> set[str]:
        """The users of so many that are served the value."""
        self._take()
        users = [Context.from_dict({"kind": "user", "key": f"user-{one}", **attributes}) for one in range(keys)]
        return {user.key for user in users if self.serves(user) == value}

    def share(self, keys: int, value: object = "new", **attributes: str) -> float:
        """The same in percent."""
        return len(self.exposed(keys, value, **attributes)) / keys * 100

    def without_user(self) -> object:
        """What a context of another kind is served."""
        self._take()
        return self.serves(Context.builder("batch").kind("job").build())

    def _take(self) -> None:
        flags = {key: self.server.sdk_flag(key) for key in self.server.flags}
        self.client._config.feature_store.init({FEATURES: flags, SEGMENTS: {}})


@contextmanager
def running_sdk(server: FakeLaunchDarkly, flag: str) -> Iterator[Sdk]:
    """The client over a server."""
    with evaluating({}) as client:
        yield Sdk(server, client, flag)


@contextmanager
def evaluating(flags: dict[str, Any]) -> Iterator[LDClient]:
    """The client over flags as it is sent them."""
    config = Config("sdk-key", update_processor_class=_AtHand, send_events=False, diagnostic_opt_out=True)
    client = LDClient(config, start_wait=5)
    client._config.feature_store.init({FEATURES: flags, SEGMENTS: {}})
    try:
        yield client
    finally:
        client.close()
