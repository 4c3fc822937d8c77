"""Everything Sluice can do, usable with neither Slack nor a model."""
