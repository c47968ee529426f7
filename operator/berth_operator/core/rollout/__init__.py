"""From the revisions that run to the one that is wanted, without a stream cut."""
