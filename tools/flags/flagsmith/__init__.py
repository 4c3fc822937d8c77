"""Flagsmith behind the port: options, exposures as variants' weights, the service."""
