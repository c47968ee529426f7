"""Where models are, and who may call them: read from files or the cluster, never written."""
