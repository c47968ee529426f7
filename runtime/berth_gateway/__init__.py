"""The gateway: one OpenAI-compatible address for every ModelDeployment.

Decisions are in `routing` and compute only; `world` knows where models are; `proxy` moves bytes;
`app` is the ASGI application in front. It writes nothing to the API server.
"""
