"""The series of one process. No label's values grow with use: none is a flag, a person, a channel or a rollout.

What is read from the database (`STATE`) is the same in every process: take the largest, never the sum.
"""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from tools.gates import Outcome

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATE = (0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)
BACK = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
THINKING = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
LAG = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0)


class Instruments:
    """Every series there is, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.build = self._gauge("build_info", "The release, and what it works with.", "version", "flags", "database")
        self._work()
        self._vendors()
        self._people()
        self._state()
        self._process()

    def _work(self) -> None:
        self.turn_seconds = self._histogram("turn_seconds", "Recurring work.", SECONDS, "work")
        self.turn_failures = self._counter("turn_failures", "Turns of recurring work that failed.", "work")
        self.turned_at = self._gauge("turn_succeeded_timestamp_seconds", "When work last came to a good end.", "work")
        self.check_seconds = self._histogram("check_seconds", "A look at a rollout's gate, vendors included.", SECONDS)
        self.check_lateness = self._histogram("check_lateness_seconds", "How late looks at gates began.", LATE)
        self.verdicts = self._counter("verdicts", "Verdicts of gates.", "outcome")
        for outcome in Outcome:
            self.verdicts.labels(outcome.value)
        self.exposures = self._counter("exposure_attempts", "Tries to set an exposure.", "purpose", "outcome")
        self.read_back = self._histogram(
            "rollback_read_back_seconds", "From the order to roll back, or to kill, to its being read back.", BACK
        )

    def _vendors(self) -> None:
        labels = ("service", "operation")
        self.flag_seconds = self._histogram("flag_request_seconds", "Reads and writes of flags.", SECONDS, *labels)
        self.flag_errors = self._counter("flag_request_errors", "Those that failed.", *labels, "error")
        self.metric_seconds = self._histogram("metric_read_seconds", "Reads of metrics.", SECONDS, "source")
        self.metric_errors = self._counter("metric_read_errors", "Those that failed.", "source", "error")
        self.part_up = self._gauge(
            "part_up", "Whether what Sluice depends on answered when last asked.", "part", "name"
        )

    def _people(self) -> None:
        self.delivery_seconds = self._histogram("slack_delivery_seconds", "Deliveries to Slack.", SECONDS, "kind")
        self.deliveries = self._counter("slack_deliveries", "What came of them.", "kind", "outcome")
        self.limits = self._counter("slack_rate_limits", "How often Slack asked to wait.")
        self.limited_seconds = self._counter("slack_rate_limited_seconds", "For how long it asked to wait.")
        self.model_seconds = self._histogram("model_request_seconds", "Requests to the model.", THINKING, "model")
        self.model_failures = self._counter("model_request_failures", "Those that failed.", "model")
        self.model_tokens = self._counter("model_tokens", "Tokens, to the model and from it.", "model", "direction")
        self.model_cost = self._counter("model_cost_dollars", "By the prices in the settings.", "model")

    def _state(self) -> None:
        self.read_at = self._gauge("state_read_timestamp_seconds", "When the database was last read for what follows.")
        self.rollouts = self._gauge("rollouts", "Rollouts that have not ended.", "phase")
        self.due = self._gauge("checks_due", "Rollouts that are due to be looked at.")
        self.oldest_due = self._gauge("oldest_due_check_seconds", "For how long the one has been due that is most.")
        self.blind = self._gauge("blind_rollouts", "Rollouts whose gate or flag can't be seen.")
        self.blind_for = self._gauge("blind_oldest_seconds", "For how long the one is blind that is so longest.")
        self.blind_guardrails = self._gauge("blind_guardrails", "Guardrails of those that can't be seen.", "reason")
        self.rollbacks = self._gauge(
            "rollbacks", "Rollbacks and kills in flight; a verifying one was read back, and not undone since.", "state"
        )
        self.rollback_age = self._gauge(
            "rollback_oldest_seconds", "Age of the oldest one not read back yet, or undone."
        )
        labels = ("kind", "urgent")
        self.outbox = self._gauge("outbox_messages", "What people are still to be told.", *labels)
        self.outbox_age = self._gauge("outbox_oldest_seconds", "Since when the oldest of it waits.", *labels)
        self.approvals = self._gauge("approvals_open", "Questions that people have not answered.")
        self.approval_age = self._gauge("approval_oldest_seconds", "Since when the oldest of them is open.")
        self.expired = self._gauge("approvals_expired_last_day", "Questions that nobody answered in time, in 24 h.")
        self.jobs = self._gauge("jobs", "Jobs that have not ended.", "status")
        self.job_age = self._gauge("job_oldest_due_seconds", "For how long the one has been due that is most.")

    def _process(self) -> None:
        self.lag = self._histogram("event_loop_lag_seconds", "How much later than asked the loop came back.", LAG)
        self.connections = self._gauge("database_connections", "Of this process's pool.", "state")

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"sluice_{name}", says, labels, registry=self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"sluice_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"sluice_{name}", says, labels, buckets=buckets, registry=self.registry)


def age(of: Any, now: Any) -> float:
    """Seconds from a moment to now, 0 where there is none."""
    return 0.0 if of is None else max((now - of).total_seconds(), 0.0)
