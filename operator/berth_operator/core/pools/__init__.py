"""Pools: models that take turns on the same accelerators. docs/design/0017-pools.md."""
