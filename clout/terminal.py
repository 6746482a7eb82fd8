"""What commands print: nothing from outside moves a cursor or sets a style, and nothing is cut off in a pipe."""

from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.status import Status
from rich.text import Text

UNLIMITED_COLUMNS: Final = 10_000
"""More than anything that is printed needs."""


def literal_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that prints text as it is: ids, titles and reasons may read `[red]` or `:star:`.

    What has a style is a `rich.text.Text`. Titles of panels and what stands beside a spinner have to be one, too: there
    rich reads a string as markup, whatever the console.
    """
    return Console(stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)


def output() -> Console:
    """Return standard output, which is as wide as what is printed needs unless it is a terminal."""
    console = literal_console(soft_wrap=True)
    if not console.is_terminal:
        console.width = UNLIMITED_COLUMNS
    return console


def beside(spinner: Status) -> Callable[[str], None]:
    """Return what shows a line beside a spinner, as it is."""
    return lambda line: spinner.update(Text(printable(line, kept="")))


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Write what would make a terminal do something as an escape; by default lines and tabs stay.

    >>> printable("a\x1b[2Jb"), printable("a\nb", kept="")
    ('a\\x1b[2Jb', 'a\\nb')
    """
    return "".join(
        sign if sign.isprintable() or sign in kept else sign.encode("unicode_escape").decode() for sign in text
    )
