"""InfluxDB behind the port: InfluxQL made of a metric's selections, asked through its query API."""
