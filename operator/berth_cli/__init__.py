"""`berth`, a user's terminal: shows the operator's own decisions and has no logic of its own."""
