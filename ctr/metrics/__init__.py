"""Metrics of the stream: progressive validation, and which feature names occur."""
