"""Scripts and styles as `make setup` bundled them: each has a hash in its name, so whoever has one keeps it."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

_log = structlog.get_logger(__name__)

DIRECTORY: Final = Path(__file__).with_name("static")
_MANIFEST: Final = "manifest.json"
_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file that pages load."""

    body: bytes
    zipped: bytes
    media_type: str


class Assets:
    """All files that pages load, in memory."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        """Read them; where nothing was bundled there are none, and `complete` is false."""
        self._names: dict[str, str] = {}
        self.files: dict[str, Asset] = {}
        """By name, with the hash in it."""
        try:
            self._names = msgspec.json.decode((directory / _MANIFEST).read_bytes(), type=dict[str, str])
            self.files = {name: _read(directory / name) for name in self._names.values()}
        except FileNotFoundError as error:
            _log.warning("there are no pages: they were not bundled", missing=error.filename, hint="run `make setup`")
        self.complete = bool(self.files)

    def name(self, source: str) -> str:
        """Return the name under which a file of `gateway/web/src` is served."""
        return self._names[source]


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, gzip.compress(body, mtime=0), _TYPES[path.suffix])
