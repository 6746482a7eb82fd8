"""What a person's page says before its script runs, in the same words and shapes as `gateway/web/src/person.js`."""

from datetime import UTC, datetime
from typing import Final

from gateway.pages.html import Markup, fill, tag
from schemas.gateway import ScoreAnswer

_PARTS: Final = ("reach", "amplification", "network")
_NOTHING: Final = "–"  # noqa: RUF001 - an en dash


def person(user: str, answer: ScoreAnswer | None) -> Markup:
    """Return the page of a person; without an answer its script has to ask for all of it."""
    values: dict[str, object] = dict.fromkeys(("score", "last_move", "as_of", "as_of_words", "meaning", "sequence"), "")
    values |= {"networks": "", "scale": bar(None)}
    for name in _PARTS:
        values |= {name: _NOTHING, f"{name}_bar": bar(None)}
    if answer is not None:
        values |= {
            "score": f"{answer.score:.1f}",
            "last_move": moved_sign(answer.score, answer.previous),
            "scale": bar(answer.score),
            "meaning": answer.meaning,
            "as_of": answer.as_of,
            "as_of_words": moment(answer.as_of),
            "sequence": f"{answer.sequence:,}",
            "networks": _networks(answer.networks),
        }
        for name in _PARTS:
            part = float(getattr(answer.subscores, name))
            values |= {name: f"{part:.1f}", f"{name}_bar": bar(part)}
    return fill("person", user=user, live=fill("live"), **values)


def bar(score: float | None) -> Markup:
    """Return a bar from 1 to 100.

    >>> "width='50.0'" in bar(50.5), "width='0.0'" in bar(None)
    (True, True)
    """
    share = 0.0 if score is None else (score - 1) / 99 * 100
    return Markup(
        "<svg class='bar' viewBox='0 0 100 1' preserveAspectRatio='none' aria-hidden='true'>"
        f"<rect class='whole' width='100' height='1'/><rect class='share' width='{share:.1f}' height='1'/></svg>"
    )


def moved_sign(score: float, previous: float | None) -> Markup:
    """Say how far a score moved.

    >>> moved_sign(12.5, 12.0)
    '<span class="moved rose"><span aria-hidden="true">▲ </span><span class="unseen">rose by </span>+0.5</span>'
    """
    if previous is None:
        return Markup()
    by = round(score - previous, 1)
    way, shape, words = (
        ("rose", "▲", "rose by ") if by > 0 else ("fell", "▼", "fell by ") if by < 0 else ("same", "·", "unchanged ")
    )
    unseen, sign = tag("span", words, class_="unseen"), tag("span", f"{shape} ", aria_hidden="true")
    return tag("span", sign, unseen, f"{by:+.1f}".replace("-", "−") if by else "0.0", class_=f"moved {way}")  # noqa: RUF001 - a minus sign


def moment(time: str) -> str:
    """Say when something was, as the scripts do.

    >>> moment("2012-07-07T23:59:53.000Z")
    '7 Jul 2012, 23:59:53 UTC'
    """
    at = datetime.fromisoformat(time).astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def _networks(networks: dict[str, float]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", f"{score:.1f}", class_="number"),
            tag("td", bar(score), class_="wide"),
            tag("td", _NOTHING, class_="number"),
            tag("td", _NOTHING, class_="number events"),
            tag("td", _NOTHING),
        )
        for name, score in sorted(networks.items(), key=lambda of: -of[1])
    ]
    return Markup("".join(rows))
