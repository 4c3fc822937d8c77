"""Pure functions from what is known about a rollout to the blocks that Slack shows."""
