"""What a promotion has to be asked about because of error budgets. Reading them is best done when a step is due."""

from datetime import datetime, timedelta

import structlog

from tools.errors import SluiceError
from tools.metrics.budget import error_budget
from tools.metrics.router import Metrics
from tools.plans.model import Plan
from tools.records.models import new_id

logger = structlog.get_logger(__name__)


async def spent_budgets(metrics: Metrics, plan: Plan, stage: int, *, now: datetime, window: timedelta) -> list[str]:
    """A reason for each of the stage's metrics whose budget is spent, or can't be seen: absence is never health."""
    reasons = []
    for metric in dict.fromkeys(rail.metric for rail in plan.stages[stage].guardrails):
        try:
            budget = await error_budget(metrics, metric, plan.flag, plan.environment, now=now, window=window)
        except SluiceError as error:
            reasons.append(f"the error budget of {metric} can't be read: {error}")
        except Exception:
            # A driver's fault must not keep the check, which was made already, from being written.
            reference = new_id()[:8]
            logger.exception("budget.faulty", metric=metric, reference=reference)
            reasons.append(f"the error budget of {metric} can't be read (reference {reference})")
        else:
            if budget is not None and budget.is_spent:
                reasons.append(str(budget))
    return reasons
