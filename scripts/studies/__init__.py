"""What scripts/experiments runs: streams, learners over them, a module for each question."""
