"""LaunchDarkly behind the port: options, exposures as targeting, patches, the service."""
