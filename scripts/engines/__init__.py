"""What scripts/kafka runs a broker on: Java, or a Docker engine. Standard library only."""
