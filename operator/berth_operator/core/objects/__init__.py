"""Builders: one object kind per file, `Resolved -> dict`. No client, no mutation of inputs."""
