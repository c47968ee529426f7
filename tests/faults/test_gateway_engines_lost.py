"""Engines that are lost under the gateway: before a byte, and in the middle of a stream."""

import asyncio
import time

import aiohttp
from gateway_site import CHAT, GatewaySite, chat, gateway_site, session, until

SLOW = {"TOKENS_PER_SECOND": "20"}
STREAMS = 20
TOKENS = 60  # of each stream: three seconds


async def _stream(site: GatewaySite, client: aiohttp.ClientSession, begun: list[bytes]) -> bytes:
    """All of it; its first piece is `begun` as soon as it is there."""
    async with client.post(site.url + CHAT, json=chat(tokens=TOKENS, stream=True)) as answer:
        assert answer.status == 200
        first = await answer.content.readany()
        begun.append(first)
        return first + await answer.read()


async def test_fault_22_an_engine_killed_in_mid_stream_ends_its_streams_alone(tmp_path) -> None:
    with gateway_site(tmp_path, SLOW, SLOW) as site:
        victim, other = site.engines
        async with session() as client:
            begun: list[bytes] = []
            streams = [asyncio.create_task(_stream(site, client, begun)) for _ in range(STREAMS)]
            # Before its first byte a request would be tried again, and not be cut.
            await until(lambda: len(begun) == STREAMS, seconds=10)
            await until(lambda: victim.running() + other.running() == STREAMS, seconds=10)
            lost = victim.running()
            await asyncio.to_thread(victim.kill)
            killed = time.monotonic()
            statuses = []
            while time.monotonic() < killed + 1:
                async with client.post(site.url + CHAT, json=chat(tokens=1)) as answer:
                    statuses.append(answer.status)
            seen = site.failures("connect")
            for _ in range(STREAMS):
                async with client.post(site.url + CHAT, json=chat(tokens=1)) as answer:
                    statuses.append(answer.status)
            ends = await asyncio.gather(*streams)

        assert 0 < lost < STREAMS
        cut = [end for end in ends if b'"code": "engine_disconnected"' in end]
        assert len(cut) == lost
        assert not any(b"[DONE]" in end for end in cut)
        whole = [end for end in ends if end not in cut]
        assert all(end.endswith(b"data: [DONE]\n\n") for end in whole)
        assert len(whole) == STREAMS - lost
        assert set(statuses) == {200}
        assert site.failures("connect") == seen, "the dead engine was tried a second after its end"


async def test_fault_23_a_reset_before_the_first_byte_is_retried_at_another_engine(
    tmp_path,
) -> None:
    with gateway_site(tmp_path, {"RESET_FIRST": "1000000"}, {}) as site:
        async with session() as client:
            for stream in (False, True) * 10:
                async with client.post(site.url + CHAT, json=chat(stream=stream)) as answer:
                    assert answer.status == 200
                    body = await answer.read()
                assert b"[DONE]" in body or not stream
                assert b"error" not in body
        assert site.failures("reset") >= 1
