"""Measurements: each against a peer or a limit, on the same work, in the same run."""
