"""What commands print: nothing from outside moves a cursor, and nothing is cut off in a pipe."""

from typing import Final

from rich.console import Console

UNLIMITED_COLUMNS: Final = 10_000
"""More than anything that is printed needs."""


def output() -> Console:
    """Return standard output, which is as wide as what is printed needs unless it is a terminal."""
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED_COLUMNS
    return console


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Write what would make a terminal do something as an escape; by default lines and tabs stay.

    >>> printable("a\x1b[2Jb"), printable("a\nb", kept="")
    ('a\\x1b[2Jb', 'a\\nb')
    """
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode() for sign in text
    )
