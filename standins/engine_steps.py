"""The steps of a continuously batching engine, as vLLM's scheduler takes them. Pure: no clock.

Prefill and decode share a step. Running sequences come first, then waiting ones while the step's
token budget, its places and the KV cache last; a sequence that finds no block preempts the youngest.
A step's duration is a linear function of what is in it, which `bench/engine` fits to a real vLLM. A
simulator can add durations up where the stand-in sleeps them.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from standins.engine_cache import Blocks


@dataclass(frozen=True, slots=True)
class Work:
    """What is in one step."""

    prefill_tokens: int = 0
    decode_tokens: int = 0
    sequences: int = 0
    read_tokens: int = 0  # of KV cache, by the sequences that decode
    attended: float = 0.0  # pairs of a prefill token and a token before it


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, each per unit of a step's work. The last two are zero for short contexts."""

    step: float
    prefill_token: float = 0.0
    sequence: float = 0.0
    read_token: float = 0.0
    attended: float = 0.0

    def seconds(self, work: Work) -> float:
        return (
            self.step
            + self.prefill_token * work.prefill_tokens
            + self.sequence * work.sequences
            + self.read_token * work.read_tokens
            + self.attended * work.attended
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """vLLM's flags of the same names; `blocks` is the KV cache's size."""

    max_num_seqs: int = 128
    max_num_batched_tokens: int = 2048
    block_tokens: int = 128
    blocks: int = 512
    prefix_caching: bool = True


@dataclass(slots=True, eq=False)
class Asked:
    """A request of `prompt` tokens for `output` more.

    `hashes` names the full blocks of prompt and output together, in order; a request whose blocks
    nobody could share may leave them out.
    """

    prompt: int
    output: int
    hashes: Sequence[Hashable] = ()
    computed: int = 0  # tokens whose keys and values are in the cache
    produced: int = 0  # tokens of the output
    cached: int = 0  # tokens of the prompt that were found in the cache
    preemptions: int = 0
    blocks: list[Hashable | None] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Tokens there are to compute."""
        return self.prompt + self.produced


@dataclass(frozen=True, slots=True)
class Step:
    """What one step computed; its tokens exist once `seconds` have passed."""

    seconds: float
    work: Work
    started: tuple[Asked, ...]  # left the queue in this step
    emitted: tuple[Asked, ...]  # have one more token of output
    finished: tuple[Asked, ...]  # have their last


@dataclass(slots=True)
class Totals:
    """Counters since the start; tokens where nothing else is said."""

    steps: int = 0
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    queried: int = 0  # looked up in the prefix cache
    preemptions: int = 0  # times


@dataclass(slots=True)
class _Batch:
    """A step in the making."""

    budget: int
    scheduled: list[tuple[Asked, int]] = field(default_factory=list)
    started: list[Asked] = field(default_factory=list)
    preempted: bool = False

    def add(self, asked: Asked, tokens: int) -> None:
        self.budget -= tokens
        self.scheduled.append((asked, tokens))

    def drop(self, victim: Asked) -> None:
        """A preempted sequence gives back what this step was to compute for it."""
        for place, (asked, tokens) in enumerate(self.scheduled):
            if asked is victim:
                del self.scheduled[place]
                self.budget += tokens
                return


class Scheduler:
    def __init__(self, limits: Limits, costs: Costs) -> None:
        self.limits = limits
        self.costs = costs
        self.cache = Blocks(limits.blocks, caching=limits.prefix_caching)
        self.running: list[Asked] = []
        self.waiting: deque[Asked] = deque()
        self.totals = Totals()

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def add(self, asked: Asked) -> None:
        """ValueError for a request that the whole cache could not hold."""
        if _blocks(asked.prompt + asked.output, self.limits.block_tokens) > self.limits.blocks:
            raise ValueError(f"{asked.prompt + asked.output} tokens never fit the KV cache")
        self.waiting.append(asked)

    def cancel(self, asked: Asked) -> None:
        """Nothing happens to a request that has ended."""
        if asked in self.running:
            self.running.remove(asked)
            self._release(asked)
        elif asked in self.waiting:
            self.waiting.remove(asked)

    def step(self) -> Step | None:
        """The next step; None without work."""
        if not self.busy:
            return None
        batch = _Batch(self.limits.max_num_batched_tokens)
        self._continue(batch)
        if not batch.preempted:
            self._start(batch)
        return self._compute(batch)

    def _continue(self, batch: _Batch) -> None:
        place = 0
        while place < len(self.running) and batch.budget:
            asked = self.running[place]
            tokens = min(asked.known - asked.computed, batch.budget)
            if self._room(asked, tokens, batch):
                batch.add(asked, tokens)
                place += 1

    def _room(self, asked: Asked, tokens: int, batch: _Batch) -> bool:
        """Blocks for `tokens` more of a running sequence; False if it was itself the youngest."""
        wanted = self._lacking(asked, tokens)
        while wanted > self.cache.free:
            victim = self.running.pop()
            self._preempt(victim, batch)
            if victim is asked:
                return False
        if wanted:
            self.cache.take(wanted)
            asked.blocks.extend([None] * wanted)
        return True

    def _preempt(self, victim: Asked, batch: _Batch) -> None:
        batch.drop(victim)
        batch.preempted = True
        self._release(victim)
        victim.computed = 0
        victim.preemptions += 1
        self.totals.preemptions += 1
        self.waiting.appendleft(victim)

    def _start(self, batch: _Batch) -> None:
        while self.waiting and batch.budget and len(self.running) < self.limits.max_num_seqs:
            asked = self.waiting[0]
            shared = self._shared(asked)
            hit = len(shared) * self.limits.block_tokens
            tokens = min(asked.known - hit, batch.budget)
            blank = _blocks(hit + tokens, self.limits.block_tokens) - len(shared)
            if not self.cache.fits(shared, blank):
                return
            self.waiting.popleft()
            self.cache.share(shared)
            self.cache.take(blank)
            asked.blocks = [*shared, *([None] * blank)]
            asked.computed = hit
            self.running.append(asked)
            batch.add(asked, tokens)
            if not asked.preemptions:
                self._count_start(asked, hit)
                batch.started.append(asked)

    def _shared(self, asked: Asked) -> Sequence[Hashable]:
        """Known leading blocks. The last token is always computed: the next one comes of it."""
        most = (asked.known - 1) // self.limits.block_tokens
        usable = asked.hashes[:most]
        return usable[: self.cache.known(usable)]

    def _count_start(self, asked: Asked, hit: int) -> None:
        asked.cached = hit
        self.totals.queried += asked.prompt
        self.totals.cached += hit
        self.totals.prompt += asked.prompt

    def _lacking(self, asked: Asked, tokens: int) -> int:
        return _blocks(asked.computed + tokens, self.limits.block_tokens) - len(asked.blocks)

    def _compute(self, batch: _Batch) -> Step:
        work = _work(batch.scheduled)
        emitted: list[Asked] = []
        finished: list[Asked] = []
        for asked, tokens in batch.scheduled:
            self._store(asked, tokens)
            if asked.computed == asked.known:
                asked.produced += 1
                emitted.append(asked)
                if asked.produced == asked.output:
                    finished.append(asked)
        self._forget(finished)
        self.totals.steps += 1
        self.totals.generated += len(emitted)
        return Step(
            seconds=self.costs.seconds(work),
            work=work,
            started=tuple(batch.started),
            emitted=tuple(emitted),
            finished=tuple(finished),
        )

    def _forget(self, finished: Sequence[Asked]) -> None:
        for asked in finished:
            self._release(asked)
        if finished:
            ended = set(map(id, finished))
            self.running = [one for one in self.running if id(one) not in ended]

    def _store(self, asked: Asked, tokens: int) -> None:
        """Blocks that have become full can be found from now on."""
        size = self.limits.block_tokens
        before, asked.computed = asked.computed // size, asked.computed + tokens
        for place in range(before, min(asked.computed // size, len(asked.hashes))):
            if self.cache.name(asked.hashes[place]):
                asked.blocks[place] = asked.hashes[place]

    def _release(self, asked: Asked) -> None:
        self.cache.release(asked.blocks)
        asked.blocks = []


def _work(scheduled: Sequence[tuple[Asked, int]]) -> Work:
    prefill, decode, read, attended = 0, 0, 0, 0.0
    for asked, tokens in scheduled:
        if tokens == 1 and asked.produced:
            decode += 1
            read += asked.computed
        else:
            prefill += tokens
            attended += tokens * (asked.computed + tokens / 2)
    return Work(prefill, decode, len(scheduled), read, attended)


def _blocks(tokens: int, block_tokens: int) -> int:
    return -(-tokens // block_tokens)
