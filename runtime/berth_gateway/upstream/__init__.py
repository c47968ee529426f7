"""The way to engines: HTTP/1.1 over kept connections, parsed by httptools.

Of our own, because a general client costs more than all else that the gateway does: see
docs/design/0009-the-data-path.md.
"""
