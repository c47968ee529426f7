"""The operator: from a ModelDeployment to running, routed pods and a status that says why not."""
