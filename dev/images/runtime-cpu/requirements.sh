#!/bin/sh
# Pins requirements.txt anew; run it after a change of requirements.in or overrides.txt.
set -eu
cd "$(dirname "$0")"
uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_31 \
    --no-header --no-annotate --override overrides.txt requirements.in --output-file requirements.txt
