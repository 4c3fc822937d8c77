"""The parts of a running Sluice, as `bot.bootstrap` wires them and listeners use them."""

from dataclasses import dataclass, field

from agent.planner import Planner
from bot.brain import Brain
from bot.runs import Runs
from bot.settings import Settings
from bot.underway import Underway
from tools.clock import Clock
from tools.flags.base import FlagService
from tools.jobs.base import Jobs
from tools.metrics.router import Metrics
from tools.records.database import Database
from tools.rollouts.controller import Controller
from tools.rollouts.service import RolloutService
from tools.specs.base import SpecSource


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a listener, a command or the scheduler may need."""

    settings: Settings
    clock: Clock
    database: Database
    flags: FlagService
    metrics: Metrics
    specs: SpecSource
    jobs: Jobs
    rollouts: RolloutService
    controller: Controller
    planner: Planner
    agent: Brain
    runs: Runs = field(default_factory=Runs)
    underway: Underway = field(default_factory=Underway)
