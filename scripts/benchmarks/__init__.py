"""What scripts/bench and scripts/freshness are made of."""
