"""Every tool that a model may call."""

from typing import Any

from agent.toolkit import (
    estimate,
    explain,
    history,
    list_rollouts,
    pause,
    propose_plan,
    query_metric,
    read_spec,
    resume,
    revise_plan,
    roll_back,
    rollout_status,
    set_exposure,
)
from agent.toolkit.base import Tool

TOOLS: tuple[Tool[Any], ...] = (
    list_rollouts.TOOL,
    rollout_status.TOOL,
    explain.TOOL,
    history.TOOL,
    query_metric.TOOL,
    read_spec.TOOL,
    estimate.TOOL,
    propose_plan.TOOL,
    revise_plan.TOOL,
    set_exposure.TOOL,
    pause.TOOL,
    resume.TOOL,
    roll_back.TOOL,
)
