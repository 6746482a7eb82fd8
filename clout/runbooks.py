"""Runbooks as pages that alerts link to.

They are served as long as Prometheus runs, by the process that started it: they are wanted most when no role answers.
"""

import threading
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

from clout.broker import HOST, ROOT

DIRECTORY: Final = ROOT / "deploy" / "runbooks"
STOP_SECONDS_MAX: Final = 2.0
_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
pre { overflow-x: auto; }
"""
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


def pages(directory: Path = DIRECTORY) -> dict[str, bytes]:
    """Return each runbook as HTML under its path, and at / the list of all.

    >>> b"<h1>CloutFeedStalled</h1>" in pages()["/feed-stalled.md"]
    True
    """
    render = MarkdownIt("commonmark", {"html": False}).render
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.md"))}
    titles = {name: text.partition("\n")[0].lstrip("# ") for name, text in texts.items()}
    links = "".join(f'<li><a href="{escape(name)}">{escape(title)}</a></li>\n' for name, title in titles.items())
    found = {f"/{name}": _page(titles[name], render(text)) for name, text in texts.items()}
    return found | {"/": _page("Runbooks", f"<h1>Runbooks</h1>\n<ul>\n{links}</ul>\n")}


def _page(title: str, body: str) -> bytes:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
""".encode()


class RunbookServer:
    """Serves the runbooks of this checkout on a free port of this machine, in threads of its own."""

    def __init__(self) -> None:
        """Take the port and serve; `stop` ends it."""
        self._server = ThreadingHTTPServer((HOST, 0), _handler(pages()))
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="runbooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._thread.join(STOP_SECONDS_MAX)
        self._server.server_close()


def _handler(pages: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(HTTPStatus.NOT_FOUND, "no such runbook")
                return
            self.send_response(HTTPStatus.OK)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing: this is the output of `clout up`."""

    return Handler
