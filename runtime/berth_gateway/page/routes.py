"""Where the page is: its files for everyone, its data for whoever has a key.

A key sees what it may use. Loading, unloading and asking are requests like a client's, so the page
can do nothing that its key could not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from berth_gateway.errors import Kind, Refusal
from berth_gateway.page import site, view
from berth_gateway.page.bridge import Bridge
from berth_gateway.page.view import Gateway
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.state.board import Board
from berth_gateway.state.past import Past

PATH: Final = "/ui/"
# Below these the page's requests are a client's.
FORWARDED: Final = ("/v1", "/api")

_NO_KEY: Final = Refusal(
    Kind.INVALID_KEY, "no valid API key; send one as 'Authorization: Bearer <key>'"
)
_DATA_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Page:
    board: Board
    past: Past
    bridge: Bridge
    gateway: Gateway
    open: bool  # auth mode None: no key is asked for

    def key(self, request: Request) -> ApiKey | None:
        """Whose eyes it is seen with; None where all may see all. Refusal (401)."""
        if self.open:
            return None
        key = self.board.keyring.find(request.headers.get("authorization", "").encode("latin-1"))
        if key is None:
            raise _NO_KEY
        return key


def attach(app: FastAPI, page: Page) -> None:
    _add_data(app, page)
    _add_files(app, site.files())
    for path in FORWARDED:
        app.mount(path, page.bridge)


def _add_data(app: FastAPI, page: Page) -> None:
    @app.get(f"{PATH}state")
    def state(request: Request) -> Response:
        return _told(lambda: view.state(page.board, page.key(request), page.gateway))

    @app.get(f"{PATH}history")
    def history(request: Request, model: str = "") -> Response:
        """Of one model by any of its names, or of all that the key may use."""
        return _told(lambda: _history(page, page.key(request), model))


def _history(page: Page, key: ApiKey | None, name: str) -> dict[str, Any]:
    snapshot = page.board.snapshot
    mine = view.visible(snapshot, key)
    if name:
        found = snapshot.find(name)
        mine = [one for one in mine if one is found]
    return view.history(page.past, mine)


def _add_files(app: FastAPI, files: Mapping[str, site.File]) -> None:
    @app.get("/ui", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    def elsewhere() -> Response:
        return RedirectResponse(PATH)

    @app.get(PATH)
    def index() -> Response:
        return _sent(files[site.INDEX])

    @app.get(f"{PATH}{{name}}")
    def file(name: str) -> Response:
        found = files.get(name)
        if found is None:
            return Response("no such file\n", status_code=404, media_type="text/plain")
        return _sent(found)


def _sent(file: site.File) -> Response:
    return Response(file.content, media_type=file.media_type, headers=site.HEADERS)


def _told(document: Callable[[], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(document(), headers=_DATA_HEADERS)
    except Refusal as refusal:
        headers = {name.decode(): value.decode() for name, value in refusal.headers()}
        return Response(refusal.body(), refusal.status, headers)
