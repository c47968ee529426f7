#!/bin/sh
# Pins requirements.txt anew, with the hash of every wheel; run it after a change of requirements.in
# or overrides.txt.
set -eu
cd "$(dirname "$0")"
uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
    --no-header --no-annotate --override overrides.txt requirements.in --output-file requirements.txt
