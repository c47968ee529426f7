"""Prefix routing on two real vLLM replicas: Berth's policies, round-robin, KubeAI's, by turns."""
