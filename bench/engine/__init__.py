"""A real vLLM on one core, and how closely the stand-in engine follows it."""
