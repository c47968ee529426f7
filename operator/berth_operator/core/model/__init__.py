"""What a model is, and what it takes: read from its files, by the engine's own rules."""
