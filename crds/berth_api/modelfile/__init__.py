"""Ollama's Modelfile, and what it says as a ModelDeployment.

In the contract, because two parts ask: the terminal's `berth create`, and whoever answers Ollama's
`/api/create`. `grammar` reads, `translation` says; `sources` and `parameters` are its tables.
"""
