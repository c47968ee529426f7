"""Which cards a cluster has for a model, by its nodes' labels, and when to leave one kind."""
