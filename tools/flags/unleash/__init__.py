"""Unleash behind the port: options, exposures as strategies, the service."""
