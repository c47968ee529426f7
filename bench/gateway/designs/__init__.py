"""Small, complete gateways with one policy and different data paths: what each path costs."""
