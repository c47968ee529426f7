"""Decisions about one request, over an immutable snapshot: no I/O, no clock, no chance."""
