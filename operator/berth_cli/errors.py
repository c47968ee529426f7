"""What the terminal raises itself; other packages' errors are mapped to it where they arise."""


class TerminalError(Exception):
    """The message names what it is about, its value and the fix."""


class InputError(TerminalError):
    """Something that was given cannot be read, or is not there; exit code 2."""


class Refused(TerminalError):
    """What was asked for is understood and not done; exit code 1."""
