"""How long a model is to stay loaded for those who asked for it, and how long nobody has asked.

Ollama's requests say how long, each for all of them: the last one is right. A request of OpenAI's
API shares the model with them and may only ask for longer. The operator is told, and decides.
"""

from dataclasses import dataclass

from berth_gateway.routing.keep_alive import longer


@dataclass(slots=True, eq=False)
class Residency:
    """Of one model at this gateway."""

    asked: float | None = None  # seconds, FOREVER; None: as long as the model's own keepAlive
    touched: float | None = None  # seconds, monotonic: a request last arrived or ended
    arrived: float | None = None  # the same, of arrivals alone

    def lengthen(self, seconds: float, own: float) -> None:
        """`own` is what holds where nobody has asked."""
        now = own if self.asked is None else self.asked
        if longer(now, seconds) != now:
            self.asked = seconds

    def idle(self, now: float) -> float | None:
        """Seconds; None: no request yet. From any thread."""
        return _since(self.touched, now)

    def unasked(self, now: float) -> float | None:
        """Seconds for which nobody has asked; None: nobody has yet. From any thread."""
        return _since(self.arrived, now)


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else max(now - at, 0.0)
