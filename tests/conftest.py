"""For every test: its plugins, and hypothesis on a busy machine."""

import os

from hypothesis import settings

pytest_plugins = ("no_skips", "real_cluster", "real_node", "waits")

# A busy machine is no finding. In CI hypothesis has such a profile of its own, which also repeats.
settings.register_profile("busy-machine", deadline=None)
if not os.environ.get("CI"):
    settings.load_profile("busy-machine")
