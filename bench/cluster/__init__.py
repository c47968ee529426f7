"""Measurements on a real cluster with Berth in it, the one of `make up`."""
