"""What Sluice says of itself to those who operate it: metrics, spans, a dashboard, alerts."""
