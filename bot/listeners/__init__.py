"""What Sluice does when Slack calls: one module a feature, each with `register(app, services)`."""
