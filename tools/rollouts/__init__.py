"""Rollouts: phases, the only door to a change, the controller that looks at gates, approvals and the executor."""
