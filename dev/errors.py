"""The one exception whose message is meant for the person at the terminal."""


class DevError(Exception):
    """Something the developer can act on; printed without a traceback."""


class CommandFailedError(DevError):
    """A command ended with a status other than zero."""

    def __init__(self, argv: list[str], status: int, output: str) -> None:
        tail = "\n".join(output.rstrip().splitlines()[-30:])
        super().__init__(f"`{' '.join(argv)}` ended with status {status}:\n{tail}")
        self.output = output
