"""Where cards are in Slack: an address never changes, so it is asked for once."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.listeners.links import Addresses as Asked
from bot.listeners.links import permalink
from tools.rollouts.views import RolloutView

MOST_KEPT = 5000


@dataclass(slots=True)
class Addresses:
    """The addresses of cards that were asked for."""

    known: OrderedDict[tuple[str, str, str], str] = field(default_factory=OrderedDict)

    async def of(self, client: Asked, views: Iterable[RolloutView]) -> dict[str, str | None]:
        """The address of each rollout's card by the rollout's id; None where there is none, or Slack doesn't say."""
        rollouts = {view.id: view for view in views}
        found = await asyncio.gather(*(self._of(client, view) for view in rollouts.values()))
        return dict(zip(rollouts, found, strict=True))

    async def _of(self, client: Asked, view: RolloutView) -> str | None:
        if view.place is None or view.place.card_ts is None:
            return None
        key = view.place.workspace, view.place.channel, view.place.card_ts
        if key not in self.known:
            address = await permalink(client, view)
            if address is None:
                return None
            self.known[key] = address
            while len(self.known) > MOST_KEPT:
                self.known.popitem(last=False)
        return self.known[key]
