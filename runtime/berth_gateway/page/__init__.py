"""The management port's web page: its files, what it is told, and its way to the models."""
