"""The edges of pools: what is seen of them, and what is done to them."""
