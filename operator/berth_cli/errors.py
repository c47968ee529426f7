"""What the terminal raises itself; other packages' errors are mapped to it where they arise."""


class InputError(Exception):
    """Something that was given cannot be read; the message names it, its value and the fix."""
