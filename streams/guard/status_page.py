"""The status page and its JSON: routes of the guard's HTTP server.

The page is plain HTML: it needs no script, loads nothing from anywhere, and is readable without colours. It comes anew
by itself, so nobody has to reload it.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.times import format_ms
from streams.guard.status_summary import (
    Component,
    ComponentStatus,
    IncidentShown,
    Standing,
    Summary,
    anchor,
    encode_summary,
)
from streams.guard.status_summary import summary as summary_of

PAGE_PATH: Final = "/status"
SUMMARY_PATH: Final = "/status/api/v2/summary.json"
REFRESH_SECONDS: Final = 30

_COMPONENT_WORDS: Final[dict[ComponentStatus, str]] = {
    "operational": "✓ operational",
    "degraded_performance": "▲ degraded",
    "partial_outage": "■ partial outage",
    "major_outage": "✕ major outage",
}
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1b1f24; --dim: #57606a; --ground: #fff; --panel: #f6f8fa; --line: #d0d7de;
  --link: #0550ae; --none: #116329; --minor: #7d4e00; --major: #953800; --critical: #a40e26; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --dim: #9aa4af; --ground: #0d1117; --panel: #161b22; --line: #3d444d; --link: #79b8ff;
    --none: #56d364; --minor: #e3b341; --major: #ffa657; --critical: #ff9492; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--ground); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; }
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.overall { font-size: 1.15rem; font-weight: 600; padding: .75rem 1rem; border: 1px solid; border-left-width: .5rem;
  border-radius: .25rem; background: var(--panel); }
.parts, .updates { list-style: none; margin: 0; padding: 0; }
.parts li { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; padding: .5rem 0;
  border-bottom: 1px solid var(--line); }
.parts .about { flex-basis: 100%; }
.state { font-weight: 600; }
.about, time, footer { color: var(--dim); font-size: .875rem; }
article { border: 1px solid var(--line); border-radius: .25rem; padding: 1rem; margin: 0 0 1rem; }
article:target { outline: 3px solid var(--link); }
.updates li { margin-top: .75rem; }
.updates p { margin: 0; white-space: pre-line; }
.none, .operational { color: var(--none); }
.minor, .degraded_performance { color: var(--minor); }
.major, .partial_outage { color: var(--major); }
.critical, .major_outage { color: var(--critical); }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: .5rem; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "cache-control": "max-age=5",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_STANDS_BY: Final = "This guard stands by or has just begun: it does not know how things stand; the active one does.\n"
_EVERYWHERE: Final = {"access-control-allow-origin": "*"}
"""What is public anyway may be read by pages of others."""


def status_routes(
    networks: Sequence[str],
    standing: Callable[[], Standing | None],
    *,
    url: str = "",
    clock: Callable[[], float] = time.time,
) -> list[Route]:
    """Return the routes; `standing` returns how things stand, of which it must own a copy: threads call it.

    It returns None where this guard does not know: it stands by, or has not read all yet.
    """
    since = format_ms(int(clock() * 1000))

    def shown(form: Callable[[Summary], str | bytes], media_type: str, headers: Mapping[str, str]) -> Response:
        known = standing()
        if known is None:
            return Response(_STANDS_BY, 503, media_type="text/plain", headers={**headers, "Retry-After": "5"})
        summary = summary_of(known, networks, now=format_ms(int(clock() * 1000)), since=since, url=url)
        return Response(form(summary), media_type=media_type, headers=headers)

    def page(_: Request) -> Response:
        return shown(page_of, "text/html", _HEADERS)

    def summary(_: Request) -> Response:
        return shown(encode_summary, "application/json", _HEADERS | _EVERYWHERE)

    return [Route(PAGE_PATH, page), Route(SUMMARY_PATH, summary)]


def page_of(summary: Summary) -> str:
    """Return the page that shows a summary."""
    name, status = escape(summary.page.name), summary.status
    incidents = "".join(map(_article, summary.incidents)) or "<p>There are none.</p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>{escape(status.description)} - {name} status</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{name} status</h1>
<p class="overall {status.indicator}">{escape(status.description)}</p>
</header>
<main>
<section aria-labelledby="parts">
<h2 id="parts">Components</h2>
<ul class="parts">
{"".join(map(_part, summary.components))}</ul>
</section>
<section aria-labelledby="incidents">
<h2 id="incidents">Open incidents</h2>
{incidents}
</section>
</main>
<footer>
<p>As of {_time(summary.page.updated_at)}; comes anew every {REFRESH_SECONDS} seconds.
<a href="{SUMMARY_PATH}">The same as JSON</a></p>
</footer>
</body>
</html>
"""


def _part(component: Component) -> str:
    return (
        f'<li><span>{escape(component.name)}</span> <span class="state {component.status}">'
        f'{_COMPONENT_WORDS[component.status]}</span> <span class="about">{escape(component.description)}</span></li>\n'
    )


def _article(incident: IncidentShown) -> str:
    place = anchor(incident.id)
    parts = ", ".join(component.name for component in incident.components) or "none of the above"
    return f"""<article id="{place}" aria-labelledby="{place}-name">
<h3 id="{place}-name">{escape(incident.name)}</h3>
<p><span class="state {incident.impact}">{incident.impact}</span>, {incident.status}, since {_time(incident.started_at)}
<br><span class="about">Touches: {escape(parts)}</span></p>
<ol class="updates" aria-label="What was said of it, the newest first">
{"".join(_updates(incident))}</ol>
</article>
"""


def _updates(incident: IncidentShown) -> Iterator[str]:
    for update in incident.incident_updates:
        yield f"<li>{_time(update.display_at)}<p>{escape(update.body)}</p></li>\n"


def _time(text: str) -> str:
    """Write a time to the second, for people and for machines."""
    written = escape(text)
    return f'<time datetime="{written}">{written[:19].replace("T", " ")} UTC</time>'
