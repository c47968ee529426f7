"""A preview as text for people, as JSON with the keys of status.plan, or as YAML objects. Pure."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from berth_api import names
from berth_api.quantity import format_bytes
from berth_api.server import EngineConfig, ServerConfig
from berth_api.status import Alternative, Plan
from berth_cli import picture
from berth_cli.picture import LEAST_WIDTH
from berth_cli.preview import Preview
from berth_operator.core.planner.concurrency import concurrency
from berth_server import args
from berth_server.binding import Cpus

# Contexts that people compare engines by, in tokens; the plan's own comes last.
SHOWN_CONTEXTS: Final = (1024, 8192)
_YAML_WIDTH: Final = 100


@dataclass(frozen=True)
class Screen:
    """What the text is for."""

    columns: int = 80
    colours: bool = False


def as_json(shown: Preview) -> str:
    """The plan itself, also of what does not fit; a refused value leaves its reason and fix.

    Each key of status.plan is there: what is not known is null.
    """
    return json.dumps(_plan_keys(shown), indent=2)


def _plan_keys(shown: Preview) -> dict[str, Any]:
    keys = dict.fromkeys(str(field.alias) for field in Plan.model_fields.values())
    if shown.plan is not None:
        return keys | shown.plan.wire()
    refusal = shown.refusal
    said = f"{refusal.reason}: {refusal.message}" if refusal else ""
    fixes = [refusal.fix] if refusal and refusal.fix else []
    return keys | {"fits": False, "explain": [said], "nearestFixes": fixes}


def as_yaml(shown: Preview) -> str:
    """The status, then each object in the order in which it would be applied; no Secrets."""
    objects = [one for one in shown.outcome.apply if one["kind"] != "Secret"]
    documents = [{"status": shown.outcome.status}, *objects]
    return yaml.safe_dump_all(documents, sort_keys=False, width=_YAML_WIDTH).rstrip()


def as_text(shown: Preview, screen: Screen) -> str:
    def listed(title: str, lines: list[str]) -> list[str]:
        items = (folded(line, screen, "  - ") for line in lines)
        return [f"{title}:", *(line for item in items for line in item)] if lines else []

    sections = [[line for long in _headline(shown) for line in folded(long, screen)]]
    if shown.plan is not None:
        sections += [
            _memory(shown, shown.plan, screen),
            list(_sequences(shown, shown.plan)),
            listed("Why", shown.plan.explain),
            listed("Not chosen", [_alternative(one) for one in shown.plan.alternatives]),
        ]
    sections += [listed("What would help", _fixes(shown)), list(_created(shown))]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def printable(text: str) -> str:
    """What a terminal would act upon, escaped: a model's strings are written by strangers."""
    return "".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def _headline(shown: Preview) -> Iterator[str]:
    name, plan, refusal = shown.resolved.name, shown.plan, shown.refusal
    if plan is not None and shown.nodes:
        verb = "fits" if shown.nodes == 1 else "would fit"
        yield f"{name} {verb} {_where(plan)}"
        yield (
            f"context {plan.max_model_len}, {plan.dtype}, KV cache {plan.kv_cache_dtype}, "
            f"{plan.max_num_seqs} sequences and {plan.max_num_batched_tokens} tokens a step"
        )
    if refusal is not None:
        yield f"{name} is refused: {refusal.reason}"
        yield refusal.message


def _where(plan: Plan) -> str:
    if plan.device == "cpu":
        ranks = plan.tensor_parallel_size
        return f"{plan.accelerator}{f', {ranks} ranks in one pod' if ranks > 1 else ''}"
    each = f"{plan.tensor_parallel_size} x {plan.accelerator}"
    nodes = plan.pipeline_parallel_size
    return f"{nodes} nodes of {each}" if nodes > 1 else each


def _memory(shown: Preview, plan: Plan, screen: Screen) -> list[str]:
    on_cpu = plan.device == "cpu"
    card = shown.offer.memory_bytes if shown.offer and not on_cpu else plan.usable_bytes
    title = "Memory of each rank" if on_cpu else "Memory of each GPU"
    drawn = picture.lines(picture.parts(plan, card), card, screen.columns, colours=screen.colours)
    return [f"{title}, {format_bytes(card)} as the engine sees it:", "", *drawn]


def _sequences(shown: Preview, plan: Plan) -> Iterator[str]:
    """How many fit at once, by their length."""
    if not shown.nodes:
        return
    yield f"Sequences at once, {format_bytes(plan.kv_bytes_per_token)} of KV cache a token:"
    contexts = {length for length in SHOWN_CONTEXTS if length < plan.max_model_len}
    for tokens in sorted(contexts | {plan.max_model_len}):
        count = concurrency(shown.shape, plan, tokens)
        limit = f", {plan.max_num_seqs} of them computed" if count > plan.max_num_seqs else ""
        yield f"  of {tokens:>8} tokens {count:>7}{limit}"


def folded(line: str, screen: Screen, bullet: str = "") -> list[str]:
    """On as many lines as the screen needs; words stay whole, so that they can be copied."""
    return textwrap.wrap(
        printable(line),
        max(screen.columns, LEAST_WIDTH),
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _alternative(one: Alternative) -> str:
    size = f"{one.tensor_parallel_size} x " if one.tensor_parallel_size else ""
    return f"{size}{one.accelerator}: {one.reason}"


def _fixes(shown: Preview) -> list[str]:
    hint = [shown.hint] if shown.hint and not shown.fits else []
    if shown.plan is not None and shown.plan.nearest_fixes:
        return [*shown.plan.nearest_fixes, *hint]
    return [*([shown.refusal.fix] if shown.refusal and shown.refusal.fix else []), *hint]


def _created(shown: Preview) -> Iterator[str]:
    objects = shown.outcome.apply
    if not objects:
        yield "Objects: none"
        return
    yield "Objects:"
    for one in objects:
        yield f"  {one['kind']:<20} {one['metadata']['namespace']}/{one['metadata']['name']}"
    for one in objects:
        yield from _command(one)


def _command(thing: Mapping[str, Any]) -> Iterator[str]:
    """As the pod starts the engine: the server's own words for the plan."""
    if thing["kind"] != "Deployment":
        return
    variables = thing["spec"]["template"]["spec"]["containers"][0]["env"]
    given = {one["name"]: one.get("value", "") for one in variables}
    server = ServerConfig.model_validate_json(given[names.ENV_SERVER_CONFIG])
    for engine in server.engines:
        words = args.command(engine, server, engine.model_dir, _cpus(engine)).argv
        argv = [printable(word) for word in words]
        yield ""
        yield "Engine:"
        yield from _wrapped(argv)


def _cpus(engine: EngineConfig) -> Cpus:
    """A node's CPUs decide the engine's environment, and none of its flags: one for each rank."""
    ranks = engine.tensor_parallel_size
    return Cpus(tuple(range(ranks)), ranks)


def _wrapped(argv: list[str]) -> Iterator[str]:
    """A flag and its value on each line."""
    line: list[str] = []
    for word in argv:
        if word.startswith("--") and line:
            yield f"  {' '.join(line)}"
            line = []
        line.append(word)
    yield f"  {' '.join(line)}"
