"""The parts of a running Sluice, as `bot.bootstrap` wires them and listeners use them."""

from dataclasses import dataclass, field, replace
from typing import Self

from slack_sdk.web.async_client import AsyncWebClient

from agent.planner import Planner
from bot.addresses import Addresses
from bot.brain import Brain
from bot.clients import Clients
from bot.health import Health
from bot.runs import Runs
from bot.settings import Settings
from bot.underway import Underway
from bot.zones import Zones
from tools.clock import Clock
from tools.flags.base import FlagService
from tools.jobs.base import Jobs
from tools.metrics.router import Metrics
from tools.records.database import Database
from tools.rollouts.controller import Controller
from tools.rollouts.service import RolloutService
from tools.rollouts.watching import SpecWatcher
from tools.specs.base import SpecSource


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a listener, a command or the scheduler may need.

    `rollouts` is the operator's door to all of them. People in Slack act through `of`, the services of their workspace;
    listeners are given services `of_nobody`, so that one that forgets to ask for a workspace's finds nothing.
    """

    settings: Settings
    clock: Clock
    database: Database
    flags: FlagService
    metrics: Metrics
    specs: SpecSource
    watcher: SpecWatcher
    jobs: Jobs
    rollouts: RolloutService
    controller: Controller
    planner: Planner
    agent: Brain
    clients: Clients[AsyncWebClient]
    zones: Zones
    runs: Runs = field(default_factory=Runs)
    underway: Underway = field(default_factory=Underway)
    health: Health = field(default_factory=Health)
    addresses: Addresses = field(default_factory=Addresses)

    def of(self, workspace: str) -> Self:
        """The same for the people of a workspace, for whom there are no rollouts but its own."""
        return replace(self, rollouts=self.rollouts.of(workspace))

    def of_nobody(self) -> Self:
        """The same without any rollouts."""
        return replace(self, rollouts=self.rollouts.of_nobody())
