"""The face towards people, and the clock: Slack, the command line, HTTP, the scheduler."""
