"""What an operator sees: Prometheus metrics of trainer and server, and the dashboard page."""
