"""Berth's residency law and its peers' on the same requests, in simulated time.

python3 -m bench.residency --quick
"""
