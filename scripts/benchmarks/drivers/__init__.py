"""Programs that are measured, each a process of its own that prints one JSON object."""
