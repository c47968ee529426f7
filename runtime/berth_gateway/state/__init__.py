"""What the gateway remembers from one request to the next, and how others are told of it."""
