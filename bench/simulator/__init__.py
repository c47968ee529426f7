"""Berth's replica law and its peers' on the same requests, in simulated time.

python3 -m bench.simulator --quick
"""
