"""Datadog behind the port: metrics with their scopes, queries made of them, the source."""
