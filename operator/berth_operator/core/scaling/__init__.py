"""How many replicas a model needs: who asks, what is decided, and what is told of it."""
