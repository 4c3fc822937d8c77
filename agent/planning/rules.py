"""What every plan is held to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.flags.base import Capabilities
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import Kinds
from tools.plans.model import Plan
from tools.plans.policy import Policy
from tools.plans.validation import check_plan


@dataclass(frozen=True, slots=True)
class Rules:
    """Policy, defaults, what the flag service is able to do, what each metric measures and its kind, by its name."""

    policy: Policy
    defaults: PlanningDefaults
    able: Capabilities
    titles: Mapping[str, str]
    kinds: Kinds = field(default_factory=dict)

    def check(self, plan: Plan) -> None:
        """Raise InvalidPlan unless the plan is sound, within policy, and within what the flag service can serve."""
        able = self.able
        check_plan(
            plan,
            self.policy,
            granularity=able.granularity,
            audiences=able.audiences,
            shadow=able.shadow,
            delay=able.read_back_delay,
            kinds=self.kinds,
        )
