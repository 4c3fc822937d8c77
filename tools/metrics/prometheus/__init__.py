"""Prometheus behind the port: selectors of counters, the one expression that counts with them, the source."""
