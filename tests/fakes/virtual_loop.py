"""An event loop whose time takes none: what waits for hours is tested to the tenth of a second."""

import asyncio


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when nothing else is left to do, and then at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        # A cancelled timer counts for nothing: the loop drops it and waits, in real time, for the next.
        coming = [timer._when for timer in self._scheduled if not timer._cancelled]
        if not self._ready and coming:
            self.now = max(self.now, min(coming))
        super()._run_once()
