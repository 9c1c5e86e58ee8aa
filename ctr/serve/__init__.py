"""The HTTP application: predictions from a model that is updated while it serves."""
