"""The training loop, its checkpoints, and the gate before publishing."""
