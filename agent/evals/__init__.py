"""Scenarios that the agent is judged by: on the rows and exposures they end with, never on prose."""
