"""New Relic behind the port: NRQL made of a metric's selections, asked through NerdGraph."""
