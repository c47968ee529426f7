"""The contract that every part of Berth shares: what objects, labels and messages look like.

Nothing here does I/O or imports more than pydantic and the standard library, so that the
operator, the gateway and the server in a stock vLLM image can all import it.
"""
