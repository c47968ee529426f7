"""One replica: continuous batching, as few events as a request has (queued, first token, last).

Between two events everything moves at a constant pace, so nothing is stepped:
- a step takes `step_seconds`, plus what the KV cache that it reads costs, plus its chunk of prompt;
- each running sequence gets one token per step; prompts are computed one after another, in the
  order of their arrival, in what `batched_tokens` leave beside the running sequences;
- a sequence starts when there is a seat (`max_num_seqs`) and room for its prompt and its answer.
"""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

ROUNDING = 1e-6  # of a token


@dataclass(frozen=True)
class Engine:
    """How fast a replica is. Times in seconds, sizes in tokens."""

    name: str
    step_seconds: float  # reading the weights once, and launching
    kv_seconds: float  # reading one token of KV cache
    prompt_seconds: float  # computing one prompt token
    attention_seconds: float  # on top, for each prompt token, per token before it
    kv_tokens: int  # what fits
    max_num_seqs: int
    batched_tokens: int  # prompt tokens in a step, less one per running sequence

    def alone(self, prompt: int) -> float:
        """Seconds to the first token on a replica that does nothing else."""
        work = self.work(prompt)
        steps = max(1.0, prompt / self.batched_tokens)
        return steps * self.step_seconds + work * self.prompt_seconds

    def work(self, prompt: int) -> float:
        """A prompt in tokens of a short one: attention makes long ones dearer."""
        return prompt * (1 + self.attention_seconds / self.prompt_seconds * prompt / 2)


# Llama 3.1 8B in FP8 with an FP8 cache on one L4 (300 GB/s, 24 GB): 8.5 GB of weights and 65.5 KB
# of cache a token at 80 % of the bandwidth; prompts at 5,000 tokens/s, a third of the card's
# arithmetic. KubeAI publishes 8 L4 with 100 requests of 832 + 76 tokens at once on each
# (docs/benchmarks/prefix-aware-load-balancing.md): 6.3 requests/s each and 189 ms a token without
# prefix routing, 9.6 and 87 ms with. Here it is 6.3 and 160 ms with a third of the prompts cached,
# and 10.3 and 97 ms with two thirds; how much was cached there is not published.
L4 = Engine(
    name="8B FP8 on L4",
    step_seconds=0.035,
    kv_seconds=65_536 / (0.8 * 300e9),
    prompt_seconds=1 / 5_000,
    attention_seconds=2.2e-9,
    kv_tokens=190_000,
    max_num_seqs=256,
    batched_tokens=2_048,
)
# Llama 3.1 8B in BF16 on one H100 SXM (3.35 TB/s at 75 %, 989 TFLOP/s at half): KV cache of
# 51.38 GiB as llm-d-planner publishes, 128 KiB a token.
H100 = Engine(
    name="8B BF16 on H100",
    step_seconds=0.008,
    kv_seconds=131_072 / (0.75 * 3_350e9),
    prompt_seconds=1 / 30_800,
    attention_seconds=1.06e-9,
    kv_tokens=420_900,
    max_num_seqs=256,
    batched_tokens=8_192,
)


class Request:
    __slots__ = ("answer", "arrived", "finished", "first", "prompt")

    def __init__(self, arrived: float, prompt: int, answer: int) -> None:
        self.arrived = arrived
        self.prompt = prompt
        self.answer = answer
        self.first = inf
        self.finished = inf


class Replica:
    """Moves only when told the time; `due` says when it wants to be told."""

    __slots__ = (
        "_at",
        "_engine",
        "_pace",
        "_prompt_pace",
        "_serial",
        "draining",
        "due",
        "kv",
        "prompt",
        "prompt_left",
        "queue",
        "running",
        "steps",
        "version",
    )

    def __init__(self, engine: Engine, now: float) -> None:
        self._engine = engine
        self.draining = False
        self.queue: deque[Request] = deque()
        self.prompt: Request | None = None
        self.prompt_left = 0.0
        self.running: list[tuple[float, int, Request]] = []  # by the step of the last token
        self.kv = 0  # tokens of cache, promised
        self.steps = 0.0
        self.due = inf
        self.version = 0
        self._at = now
        self._serial = 0
        self._pace = 0.0
        self._prompt_pace = 0.0

    @property
    def load(self) -> int:
        return len(self.queue) + len(self.running) + (self.prompt is not None)

    def take(self, now: float, request: Request) -> None:
        self._advance(now)
        self.queue.append(request)
        if self.prompt is None:
            self._start()
            self._settle()

    def work(self, now: float) -> list[Request]:
        """What ended by now."""
        self._advance(now)
        ended: list[Request] = []
        if self.prompt is not None and self.prompt_left <= ROUNDING:
            self._first_token(now, self.prompt, ended)
        running = self.running
        while running and running[0][0] <= self.steps + ROUNDING:
            request = heappop(running)[2]
            request.finished = now
            self.kv -= request.prompt + request.answer
            ended.append(request)
        if self.prompt is None:
            self._start()
        self._settle()
        return ended

    def _first_token(self, now: float, request: Request, ended: list[Request]) -> None:
        self.prompt = None
        request.first = now
        if request.answer <= 1:
            request.finished = now
            self.kv -= request.prompt + request.answer
            ended.append(request)
            return
        self._serial += 1
        heappush(self.running, (self.steps + request.answer - 1, self._serial, request))

    def _start(self) -> None:
        if not self.queue or len(self.running) >= self._engine.max_num_seqs:
            return
        request = self.queue[0]
        size = request.prompt + request.answer
        if self.kv and self.kv + size > self._engine.kv_tokens:
            return
        self.queue.popleft()
        self.kv += size
        self.prompt = request
        self.prompt_left = self._engine.work(request.prompt)

    def _advance(self, now: float) -> None:
        passed = now - self._at
        if passed > 0:
            self.steps += self._pace * passed
            if self.prompt is not None:
                self.prompt_left -= self._prompt_pace * passed
        self._at = now

    def _settle(self) -> None:
        """The pace from here on, and when it next changes."""
        engine = self._engine
        step = engine.step_seconds + engine.kv_seconds * self.kv
        due = inf
        if self.prompt is not None:
            chunk = min(
                max(engine.batched_tokens - len(self.running), 1), max(self.prompt_left, 1.0)
            )
            step += engine.prompt_seconds * chunk
            self._prompt_pace = chunk / step
            due = self._at + max(self.prompt_left, 0.0) / self._prompt_pace
        self._pace = 1 / step
        if self.running:
            last = self._at + max(self.running[0][0] - self.steps, 0.0) * step
            due = min(due, last)
        self.due = due
        self.version += 1
