"""SQL databases behind the port: the team's own query, checked, and run by whatever driver there is."""
