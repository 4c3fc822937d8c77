"""GrowthBook behind the port: options, exposures as rules, the service."""
