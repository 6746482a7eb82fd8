"""Formats of raw interactions: each is a module of `formats` with `NEEDS_HEADERS` and one function, `decode`.

`decode(values, headers)` takes a batch of records and returns a `Batch`. It never raises for what is in a record.
A network names its format in the configuration; a new format is one more file.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, NamedTuple, cast

from streams.decoders import formats

if TYPE_CHECKING:
    # They bring the compiler of kernels along, which nobody needs who only asks for names.
    from streams.decoders.batch import Decode
    from streams.decoders.reader import ReadPlain


class Decoder(NamedTuple):
    """A format that can be read."""

    name: str
    decode: "Decode"
    needs_headers: bool
    read_plain: "ReadPlain | None"
    """A fast way for records that are written plainly, where the format has one."""


def decoder_names() -> list[str]:
    """All formats.

    >>> decoder_names()
    ['activitystreams', 'native']
    """
    return [module.name for module in iter_modules(formats.__path__)]


def decoder(name: str) -> Decoder:
    """Load the decoder of a format; a LookupError names those that there are.

    >>> decoder("native").needs_headers
    False
    """
    if name not in decoder_names():
        message = f"no decoder for the format {name!r}; there are: {', '.join(decoder_names())}"
        raise LookupError(message)
    module = import_module(f"{formats.__name__}.{name}")
    return Decoder(name, cast("Decode", module.decode), module.NEEDS_HEADERS, getattr(module, "read_plain", None))
