"""The server of a runtime pod: PID 1 around a stock engine.

It launches and watches what the operator resolved, and never plans anything itself.
"""
