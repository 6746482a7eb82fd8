"""Fills the pages' templates. What is filled in is text, unless it says that it is markup."""

import html
from functools import cache
from pathlib import Path
from string import Template
from typing import Final

_TEMPLATES: Final = Path(__file__).with_name("templates")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def fill(template: str, **values: object) -> Markup:
    """Return a template with its places filled.

    >>> fill("live") == fill("live", more="is not used")
    True
    """
    return Markup(_template(template).substitute({name: escaped(value) for name, value in values.items()}))


def escaped(value: object) -> Markup:
    """Return a value as it may stand in HTML, also in an attribute.

    >>> escaped("<b>"), escaped(Markup("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, *children: object, **attributes: str) -> Markup:
    """Return an element; a name that Python keeps for itself ends with `_`.

    >>> tag("a", "A & B", href="/?a=1&b=2", class_="who")
    '<a href="/?a=1&amp;b=2" class="who">A &amp; B</a>'
    """
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{''.join(map(escaped, children))}</{name}>")


@cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text(encoding="utf-8"))
