"""docs/keys.md: its values are read as it says, and its commands make a key that works."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

from berth_api import names
from berth_gateway.routing.keyring import Keyring
from berth_gateway.world import keys

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text(encoding="utf-8")
COMMANDS = re.compile(r"(?<=^```sh\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
VALUES = re.compile(r"^\| `([^`]*3f0c…[^`]*)`", re.MULTILINE)
SHA256 = "3f0c" * 16


def run(script: str, folder: Path) -> tuple[str, dict[str, str | None]]:
    """What the commands print, and the Secret's fields that they set; a script stands for kubectl."""
    stand_in = folder / "kubectl"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > {folder}/asked\n')
    stand_in.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-eu", "-c", script],
        env={"PATH": path},
        capture_output=True,
        check=True,
        text=True,
    )
    *asked, patch = (folder / "asked").read_text().rstrip("\0").split("\0")
    assert asked[:5] == ["-n", "berth-system", "patch", "secret", names.SECRET_API_KEYS]
    return ran.stdout.strip(), json.loads(patch)["data"]


def test_every_value_of_the_table_is_read() -> None:
    values = [value.replace("3f0c…", SHA256) for value in VALUES.findall(PAGE)]
    found = keys.from_secret({f"k{n}": value.encode() for n, value in enumerate(values)})
    assert [(key.models, key.requests_per_minute, key.manages) for key in found] == [
        (None, None, False),
        (None, None, False),
        (("smollm2",), None, False),
        (None, 600, False),
        (None, None, True),
    ]


def test_the_commands_make_a_key_and_take_it_away(tmp_path: Path) -> None:
    make, remove = COMMANDS.findall(PAGE)
    printed, fields = run(make, tmp_path)
    (found,) = keys.from_secret(
        {name: base64.b64decode(value or "") for name, value in fields.items()}
    )
    assert (found.name, found.models, found.requests_per_minute) == ("team-a", ("smollm2",), 600)
    assert printed.startswith(names.API_KEY_PREFIX)
    assert Keyring([found], b"salt").find(f"Bearer {printed}".encode()) == found
    assert run(remove, tmp_path)[1] == {"team-a": None}
