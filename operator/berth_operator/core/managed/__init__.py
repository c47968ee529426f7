"""Models that Ollama's clients make: what is applied for them, and what they are told."""
