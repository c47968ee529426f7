"""What may never be in a pool's pods, looked for again and again while something is done to it."""

import contextlib
import http.client
from dataclasses import dataclass, field

from pool_pods import PodProcess, PoolKubelet

from berth_api.server import Phase


@dataclass
class Watch:
    """Looks at every pod again and again, and remembers what was wrong."""

    kubelet: PoolKubelet
    wrong: list[str] = field(default_factory=list)
    looks: int = 0
    most_granted: float = 0.0  # share of a card

    def look(self) -> None:
        for pod in list(self.kubelet.pods.values()):
            if not pod.is_running():
                self._note(f"pod {pod.name} has ended: {pod.log()[-500:]}")
            elif pod.ready:
                # One that is busy is asked again.
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self._judge(pod)

    def _judge(self, pod: PodProcess) -> None:
        report = pod.report()
        self.looks += 1
        for card in report.cards:
            share = card.granted_bytes / card.total_bytes
            self.most_granted = max(self.most_granted, share)
            if share > 1:
                self._note(f"{pod.name} has granted {share:.2f} of card {card.index}")
        for one in report.engines:
            if one.phase is Phase.FAILED:
                self._note(f"{pod.name}: {one.id} failed: {one.failure}")

    def __str__(self) -> str:
        return f"{self.looks} looks at pods, {self.most_granted:.0%} of a card granted at most"

    def _note(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)
