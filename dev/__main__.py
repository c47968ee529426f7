"""`python3 -m dev <verb>`: the developer's commands, from the repository's root."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence

from dev import binaries, cluster, demo, environment, images, installation, places, progress
from dev.cluster import Cluster
from dev.errors import DevError


def up(options: argparse.Namespace) -> None:
    """Start the cluster, build and load the images, install Berth and the demo's model"""
    here = cluster.up(keep_go_cache=options.keep_go_cache)
    if options.berth:
        load_images(here)
        installation.install(here)
        here.kubectl("apply", "-f", str(demo.manifest()))
    print("\n".join(here.status()))


def build(options: argparse.Namespace) -> None:
    """Build the binaries only, those of the integration tests included"""
    asked = {binaries.KEDA_MODULE: options.keda, binaries.KWOK_MODULE: options.kwok}
    modules = (*binaries.MODULES, *(module for module, wanted in asked.items() if wanted))
    binaries.build(modules, keep_cache=options.keep_go_cache)


def build_images(_: argparse.Namespace) -> None:
    """Build the images that have changed and load them into the running cluster"""
    load_images(cluster.current())


def down(_: argparse.Namespace) -> None:
    """Stop everything; images, binaries and the cluster's content stay"""
    cluster.current().stop()


def clean(_: argparse.Namespace) -> None:
    """Stop everything and remove the cluster's state and every cache"""
    cluster.current().stop()
    with progress.step("remove the cluster and every cache"):
        places.remove(places.state_dir())
        binaries.remove_build_cache()
        shutil.rmtree(places.cache_dir(), ignore_errors=True)


def status(_: argparse.Namespace) -> None:
    """Show what runs"""
    print("\n".join(cluster.current().status()))


def env(_: argparse.Namespace) -> None:
    """Print the shell variables that lead to the cluster and to Berth"""
    print(environment.render(cluster.current()))


def run_demo(_: argparse.Namespace) -> None:
    """Start what does not run yet, apply a model, ask it a question, and stop what was started"""
    ran_before = cluster.current().running()
    here = cluster.up()
    load_images(here)
    installation.install(here)
    demo.run(here.kubectl, demo.Address(environment.url(here), environment.api_key(here)))
    if not ran_before:  # after a failure it goes on, for whoever looks into it
        here.stop()


def load_images(here: Cluster) -> None:
    if here.builder is None:
        return
    for image in images.berth():
        images.build(here.builder, image)
        here.load(image)


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "up": up,
    "down": down,
    "clean": clean,
    "status": status,
    "env": env,
    "images": build_images,
    "build": build,
    "demo": run_demo,
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m dev", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function in VERBS.items():
        verb = verbs.add_parser(name, help=function.__doc__, description=function.__doc__)
        if name in ("up", "build"):
            verb.add_argument(
                "--keep-go-cache",
                action="store_true",
                help="keep Go's build cache (8 GB), which only a change of versions uses",
            )
        if name == "build":
            verb.add_argument("--keda", action="store_true", help="KEDA too, for tests/keda")
            verb.add_argument("--kwok", action="store_true", help="KWOK too, for bench/operator")
        if name == "up":
            verb.add_argument(
                "--no-berth",
                dest="berth",
                action="store_false",
                help="the cluster alone: no images, no chart",
            )
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        VERBS[options.verb](options)
    except DevError as error:
        progress.say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
