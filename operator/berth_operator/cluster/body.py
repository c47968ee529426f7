"""A whole HTTP body, bounded: what a pod answers must not fill the operator's memory."""

import aiohttp


async def read_whole(content: aiohttp.StreamReader, limit_bytes: int) -> bytes | None:
    """None if the body is longer. One `read(n)` would do with the first piece that arrived."""
    body = b""
    async for part in content.iter_chunked(limit_bytes):
        body += part
        if len(body) > limit_bytes:
            return None
    return body
