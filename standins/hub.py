"""A stand-in for a Hugging Face hub: as much of it as the real client speaks to.

    python -m standins.hub --port 9000 --repository berth/tiny=/path/to/model

Repositories of its own, by name:

    berth/tiny       one weights file          berth/sharded    two shards and an index
    berth/words      random weights and words, for an engine to really serve
    berth/gated      401 or 403 until the token is GOOD_TOKEN (error code GatedRepo)
    berth/private    401 without a token, 404 with one that has no access
    berth/pickles    only .bin weights         berth/corrupt    a digest that does not match
    berth/large      48 MiB, 4 MiB per second
    berth/slow       64 KiB per second         berth/broken     500 for everything
    berth/flaky      cuts each body once, in the middle
    berth/hostile    a weights header that claims eight exabytes
"""

import argparse
import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from standins import tiny_model

GOOD_TOKEN = "hf_good"
POOR_TOKEN = "hf_poor"  # valid, without access to gated and private repositories
# The hub keeps files of these kinds in large-file storage, with their SHA-256.
_LARGE = (".safetensors", ".bin", ".model")
_SLOW_BYTES_PER_SECOND = 64 * 1024
_LARGE_BYTES_PER_SECOND = 4 * 2**20
_SLOW_CHUNK_BYTES = 4 * 1024


@dataclass
class Repository:
    files: dict[str, bytes]
    branch: str = "main"
    bytes_per_second: int | None = None
    corrupt: bool = False
    broken: bool = False
    gated: bool = False
    private: bool = False
    cuts: set[str] = field(default_factory=set)  # paths whose next body is cut short

    @property
    def commit(self) -> str:
        return tiny_model.commit(self.files)


def repositories() -> dict[str, Repository]:
    tiny = tiny_model.files()
    weights = {name: content for name, content in tiny.items() if name != "model.safetensors"}
    hostile = weights | {"model.safetensors": b"\xff" * 7 + b"\x7f" + b"{}"}
    return {
        "berth/tiny": Repository(tiny),
        "berth/sharded": Repository(tiny_model.sharded()),
        "berth/words": Repository(tiny_model.worded()),
        "berth/gated": Repository(tiny, gated=True),
        "berth/private": Repository(tiny, private=True),
        "berth/pickles": Repository(weights | {"pytorch_model.bin": b"\x80\x04."}),
        "berth/corrupt": Repository(tiny, corrupt=True),
        "berth/slow": Repository(tiny, bytes_per_second=_SLOW_BYTES_PER_SECOND),
        "berth/large": Repository(tiny_model.large(), bytes_per_second=_LARGE_BYTES_PER_SECOND),
        "berth/broken": Repository(tiny, broken=True),
        "berth/flaky": Repository(tiny, cuts={"model.safetensors"}),
        "berth/hostile": Repository(hostile),
        "berth/lora": Repository(tiny_model.adapter() | {"README.md": b"# LoRA\n"}),
        "berth/lora-gated": Repository(tiny_model.adapter(), gated=True),
        "berth/lora-pickled": Repository(
            {"adapter_config.json": b"{}", "adapter_model.bin": b"\x80\x04."}
        ),
    }


def from_directory(directory: Path) -> Repository:
    return Repository({path.name: path.read_bytes() for path in directory.iterdir()})


def refusal(status: int, code: str | None, message: str) -> Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return JSONResponse({"error": message}, status, headers)


def denied(found: Repository | None, token: str | None) -> Response | None:
    """As the hub answers: a missing repository looks like a private one."""
    if token not in (None, GOOD_TOKEN, POOR_TOKEN):
        return refusal(401, None, "Invalid credentials in Authorization header")
    if found is None or (found.private and token != GOOD_TOKEN):
        status = 401 if token is None else 404
        return refusal(status, "RepoNotFound", "Repository not found")
    if found.broken:
        return refusal(500, None, "Internal Server Error")
    return None


def gate(found: Repository, token: str | None) -> Response | None:
    """Gated repositories list their files to everyone and hand none out."""
    if found.gated and token != GOOD_TOKEN:
        status = 401 if token is None else 403
        return refusal(status, "GatedRepo", "Access to this model is restricted")
    return None


def entry(path: str, content: bytes, *, corrupt: bool) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    if corrupt:
        digest = digest[::-1]
    found: dict[str, Any] = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
    }
    if path.endswith(_LARGE):
        found["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
    return found


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes of a Range header as [start, end), or None for all."""
    if not header or not header.startswith("bytes="):
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    start = int(first)
    return start, min(size, int(last) + 1 if last else size)


def allowed(
    held: dict[str, Repository], request: Request, name: str, revision: str
) -> Repository | Response:
    """The repository, or the hub's refusal."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = held.get(name)
    if no := denied(found, token if scheme == "Bearer" else None):
        return no
    assert found is not None
    if revision not in (found.branch, found.commit):
        return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return found


def application(held: dict[str, Repository]) -> FastAPI:
    app = FastAPI()

    @app.get("/api/models/{owner}/{name}")
    @app.get("/api/models/{owner}/{name}/revision/{revision:path}")
    async def info(request: Request, owner: str, name: str, revision: str = "main") -> Response:
        found = allowed(held, request, f"{owner}/{name}", revision)
        return found if isinstance(found, Response) else JSONResponse(card(found, owner, name))

    @app.get("/api/models/{owner}/{name}/tree/{revision}")
    async def tree(request: Request, owner: str, name: str, revision: str) -> Response:
        found = allowed(held, request, f"{owner}/{name}", revision)
        if isinstance(found, Response):
            return found
        return JSONResponse(
            [entry(p, content, corrupt=found.corrupt) for p, content in found.files.items()]
        )

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(
        request: Request, owner: str, name: str, revision: str, path: str
    ) -> Response:
        found = allowed(held, request, f"{owner}/{name}", revision)
        if isinstance(found, Response):
            return found
        token = request.headers.get("authorization", "").removeprefix("Bearer ") or None
        if no := gate(found, token):
            return no
        if path not in found.files:
            return refusal(404, "EntryNotFound", "Entry not found")
        return _body(found, path, request)

    return app


def card(found: Repository, owner: str, name: str) -> dict[str, Any]:
    return {
        "id": f"{owner}/{name}",
        "modelId": f"{owner}/{name}",
        "sha": found.commit,
        "private": found.private,
        "gated": "auto" if found.gated else False,
        "siblings": [{"rfilename": path} for path in found.files],
        "tags": [],
        "downloads": 0,
    }


def _body(found: Repository, path: str, request: Request) -> Response:
    content = found.files[path]
    part = span(request.headers.get("range"), len(content))
    start, end = part or (0, len(content))
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        "X-Repo-Commit": found.commit,
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    stream = _pieces(found, path, content[start:end])
    return StreamingResponse(stream, status, headers, media_type="application/octet-stream")


async def _pieces(found: Repository, path: str, content: bytes) -> AsyncIterator[bytes]:
    if path in found.cuts:
        found.cuts.discard(path)
        yield content[: len(content) // 2]
        raise ConnectionResetError("cut by the stand-in")
    if found.bytes_per_second is None:
        yield content
        return
    for start in range(0, len(content), _SLOW_CHUNK_BYTES):
        yield content[start : start + _SLOW_CHUNK_BYTES]
        await asyncio.sleep(_SLOW_CHUNK_BYTES / found.bytes_per_second)


def main() -> None:
    parser = argparse.ArgumentParser(prog="standins.hub")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--repository", action="append", default=[], metavar="NAME=DIRECTORY")
    args = parser.parse_args()
    held = repositories()
    for given in args.repository:
        name, _, directory = given.partition("=")
        held[name] = from_directory(Path(directory))
    uvicorn.run(application(held), host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
