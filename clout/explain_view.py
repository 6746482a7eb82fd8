"""An explanation in words and tables, whose numbers add up."""

import math
from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clout.commands.durations import in_words
from clout.terminal import printable
from schemas.change import Cause, ScoreChange
from schemas.explanation import ChangeExplained, Explained, Explanation, ModelUsed, NetworkPart
from schemas.incident import IncidentFacts

_SUMS: Final = {
    "reach": "how many people",
    "amplification": "how much they do",
    "network": "how influential they are",
}
_CAUSES: Final[dict[Cause, str]] = {
    "interaction": "what others did added more than decay took",
    "decay": "decay lowered it",
    "retraction": "interactions that had counted were taken back",
    "forget": "the user was forgotten",
    "model": "another model computed it",
    "correction": "it was corrected",
}
_FEW: Final = 100.0
"""Sums below it are shown with more decimals, so that the score can still be computed from them."""
_STALE: Final = "stale: this user's partition stands still, and this is the last good score"
_KNOWN_WITHIN: Final = 2.0
"""Of whom more may be true than so many times what is known, the name tells nothing; nor of whom nothing may be."""
_DECIMALS: Final = {False: 2, True: 4}


def panel(found: Explained) -> Panel:
    """Make the panel that explains a score; the user has one."""
    told = found.explanation
    score = "no score" if told.score is None else f"{told.score:.1f}"
    parts: list[RenderableType] = [
        Text.assemble((score, "bold"), f"   change {told.sequence:,} · as of {_moment(told.as_of)}"),
        *([Text(_STALE, "bold red")] if told.stale is True else []),
        Text(),
        Text("\n".join(_reasons(found))),
        Text(),
        _sums_table(told),
        Text("\n".join(_times(told)), "dim"),
        Text(),
        Text("\n".join(_formula(told))),
        Text(),
        _ledger_table(told),
    ]
    for name, part in _largest_first(told):
        parts += [Text(), *_contributors(name, part)]
    parts += [Text(), Text("\n".join(["Last changes:", *map(change_line, found.changes)]))]
    parts += [Text(_unexplained(number, points), "bold red") for number, points in sorted(found.unexplained.items())]
    for incident in found.incidents:
        parts += [Text(), Text("\n".join(_incident(incident)), "yellow")]
    parts += [Text(), Text(_model(told.model), "dim")]
    return _framed(told.user, parts)


def change_panel(found: ChangeExplained) -> Panel:
    """Make the panel that explains one change."""
    change = found.change
    moved = "" if found.moved is None else f" ({found.moved:+.1f})"
    if found.moved == 0:
        moved = " (a sub-score or a network's score moved)"
    parts: list[RenderableType] = [
        Text.assemble((f"{_points(change.previous)} → {_points(change.score)}", "bold"), f"{moved}   {change.cause}"),
        Text(),
        Text("\n".join(_why(found))),
        Text(),
        _moves_table(found),
        Text(),
        Text(f"model {change.model}", "dim"),
    ]
    return _framed(f"{change.user}, change {change.sequence:,}", parts)


def change_line(change: ScoreChange) -> str:
    """Write a change as a line.

    >>> change_line(ScoreChange("t:1", 2, 12.5, 11.0, None, {}, "2012-07-01T12:00:00.000Z", "interaction", "1"))
    '2  2012-07-01 12:00:00  11.0 → 12.5  interaction'
    """
    line = f"{change.sequence:,}  {_moment(change.as_of)}  {_points(change.previous)} → {_points(change.score)}"
    added = "; most by " + ", ".join(_added(change)) if change.reasons else ""
    return f"{line}  {change.cause}{added}"


def _framed(title: str, parts: list[RenderableType]) -> Panel:
    return Panel(Group(*parts), title=Text(printable(title)), title_align="left", expand=False)


def _reasons(found: Explained) -> Iterator[str]:
    told = found.explanation
    events = sum(part.events for part in told.networks.values())
    where = ", ".join(sorted(told.networks))
    worth = ", ".join(f"{_number(getattr(told.sums, name))} in {name} ({what})" for name, what in _SUMS.items())
    are = "is" if events == 1 else "are"
    yield f"{_points(told.score)}: {_interactions(events)} by others on {where} {are} worth {worth}."
    if found.standing is not None:
        lower, users = 100 * found.standing.lower, found.standing.users
        # Cut off, not rounded: nobody is higher than all. At least: people are counted by whole points.
        percent = math.floor(10 * lower) / 10
        yield f"It is higher than at least {percent:.1f} % of the {users:,} people who have a score."
    else:
        yield "How many people have a lower one is not known yet: the workers have not counted their users."
    if told.anchor is not None and told.anchor.score is not None:
        yield f"When the furthest clock came to {_moment(told.anchor.hour)} it was {told.anchor.score:.1f}."
    if told.next_decay is None:
        yield "Decay will not change it any more."
    else:
        at = ", ".join(f"{_moment(time)} on {name}" for name, time in sorted(told.next_decay.at.items()))
        nobody = "nobody engages and all clocks go on alike" if len(told.next_decay.at) > 1 else "nobody engages"
        together = len({part.taken_at for part in told.networks.values()}) == 1
        after = f", in {in_words(told.next_decay.after_seconds)}" if together else ""
        yield f"If {nobody}, decay changes what is published next when the clock says {at}{after}."


def _largest_first(told: Explanation) -> list[tuple[str, NetworkPart]]:
    return sorted(told.networks.items(), key=lambda item: -item[1].score)


def _sums_table(told: Explanation) -> Table:
    """Make the table of the sums: of each network, and of all of them."""
    several = len(told.networks) > 1
    table = _table("", *_SUMS, "score", "events")
    for name, part in _largest_first(told):
        shares = (f" {getattr(part.share, key):4.0%}" if several else "" for key in _SUMS)
        sums = [f"{_number(getattr(part.sums, key))}{share}" for key, share in zip(_SUMS, shares, strict=True)]
        table.add_row(name, *sums, f"{part.score:.1f}", f"{part.events:,}")
    if several:
        events = sum(part.events for part in told.networks.values())
        sums = [_number(getattr(told.sums, key)) for key in _SUMS]
        table.add_row("all", *sums, _points(told.score), f"{events:,}")
    if told.subscores is not None:
        scores = [f"{getattr(told.subscores, key):.1f}" for key in _SUMS]
        table.add_row("sub-scores", *scores, "", "")
    return table


def _times(told: Explanation) -> Iterator[str]:
    for name, part in _largest_first(told):
        taken = "the network has no clock yet" if part.clock is None else "as far as its clock has come"
        taken = taken if part.clock == part.taken_at or part.clock is None else "which its clock has not reached"
        yield f"{name}: last event {_moment(part.last_event)}, sums of {_moment(part.taken_at)}, {taken}"


def _formula(told: Explanation) -> Iterator[str]:
    sums = told.sums
    reach, amplification, network = (_number(getattr(sums, name)) for name in _SUMS)
    yield f"S = {reach}^¼ · {amplification}^¼ · {network}^½ = {_number(told.strength)}"
    scale = f"{told.model.score_scale:,.0f}"
    if told.unrounded is not None:
        least = "at most 100: " if told.strength >= told.model.score_scale else ""
        yield f"score = {least}1 + 99 · ln(1 + S) / ln(1 + {scale}) = {told.unrounded:.2f}"


def _ledger_table(told: Explanation) -> Table:
    """Make the table of what became of all that was granted: its columns add up as they are shown."""
    table = _table("", "sum", "granted in all", "- decay", "- taken back", "= now")
    for name, part in _largest_first(told):
        for place, key in enumerate(_SUMS):
            granted, taken, now = (getattr(sums, key) for sums in (part.granted, part.taken_back, part.sums))
            decimals = _DECIMALS[granted < _FEW]
            granted, taken, now = (round(value, decimals) for value in (granted, taken, now))
            numbers = (granted, granted - taken - now, taken, now)
            # Zero has no sign; what time has taken would have one if more were there than was ever granted.
            shown = (round(number, decimals) + 0.0 for number in numbers)
            table.add_row("" if place else name, key, *(f"{number:,.{decimals}f}" for number in shown))
    return table


def _contributors(network: str, part: NetworkPart) -> Iterator[RenderableType]:
    """Make a table of who gave most, of those of whom it is known well enough, and say what others gave at most."""
    total = part.sums.network
    known = [one for one in part.contributors if one.least > 0 and one.most <= _KNOWN_WITHIN * one.weight]
    if known:
        table = _table(f"gave most on {network}", "network", "share", "between")
        for one in known:
            name = "(not named)" if one.actor is None else printable(one.actor)
            between = f"{_number(one.least)} and {_number(one.most)}"
            table.add_row(Text(name), _number(one.weight), f"{one.share:.1%}", between)
        others = max(0.0, total - sum(one.weight for one in known))
        table.add_row("everybody else", _number(others), f"{others / total:.1%}" if total else "", "")
        yield table
    most = max([part.others_most, *(one.most for one in part.contributors if one not in known)])
    if most > 0:
        who = "nobody else" if known else "nobody"
        yield Text(f"On {network} {who} gave more than {_number(most)} of the network sum ({most / total:.1%}).")


def _incident(incident: IncidentFacts) -> Iterator[str]:
    yield f"Incident {incident.id}: {printable(incident.title)}"
    yield f"  {incident.kind}, {incident.status}, opened {_moment(incident.opened)}, as of {_moment(incident.updated)}"


def _model(model: ModelUsed) -> str:
    weights = ", ".join(f"{kind} {weight:g}" for kind, weight in model.weights.items())
    return (
        f"model {model.name}: half-life {model.half_life_days:g} d, rate {model.rate_reference:g} with half-life "
        f"{model.rate_half_life_days:g} d, alpha {model.alpha:g}, influence floor {model.influence_floor:g}, "
        f"scale {model.score_scale:,.0f}; {weights}"
    )


def _why(found: ChangeExplained) -> Iterator[str]:
    change, before = found.change, found.before
    what = "it fell further than decay takes" if found.unexplained is not None else _what_happened(change)
    yield f"As of {_moment(change.as_of)}: {what}."
    if found.elapsed_seconds is not None and before is not None:
        yield f"Change {before.sequence:,} was {in_words(found.elapsed_seconds)} before, as of {_moment(before.as_of)}."
    elif change.previous is not None:
        yield f"Change {change.sequence - 1:,} is not in the topic any more, so nothing but the score can be compared."
    if found.by_decay_alone is not None:
        yield f"Decay alone would have left about {found.by_decay_alone:.2f}."
    if found.unexplained is not None:
        yield _unexplained(change.sequence, found.unexplained)
    if change.reasons:
        yield "Most was added by " + ", ".join(_added(change)) + "."
    elif change.cause == "decay":
        yield "No interaction is noted for it."
    elif change.cause == "interaction" and change.score is not None:
        yield "Who added most was not noted (`worker.reasons_share` says for how many changes it is)."
    if change.reference is not None:
        yield f"It refers to {printable(change.reference)}."


def _unexplained(sequence: int, points: float) -> str:
    return f"{points:.1f} points of change {sequence:,} are more than decay takes: `clout audit` judges all users."


def _what_happened(change: ScoreChange) -> str:
    if change.score is None:
        return "all interactions that had counted were taken back"
    if change.previous is None:
        return "the first score" if change.sequence == 1 else "there was no score before"
    if change.cause == "decay" and change.reasons:
        return "decay took more than others added"
    return _CAUSES[change.cause]


def _added(change: ScoreChange) -> Iterator[str]:
    for reason in change.reasons or ():
        who = "somebody who is not named" if reason.actor is None else printable(reason.actor)
        yield f"{who} ({_interactions(reason.events)} on {reason.network}, {reason.granted:.4f})"


def _moves_table(found: ChangeExplained) -> Table:
    table = _table("", "before", "now", "moved")
    change, before = found.change, found.before
    rows: list[tuple[str, float | None, float | None]] = [("score", change.previous, change.score)]
    if before is not None:
        rows += [(name, getattr(before.subscores, name, None), getattr(change.subscores, name, None)) for name in _SUMS]
        networks = sorted(before.networks.keys() | change.networks.keys())
        rows += [(f"on {network}", before.networks.get(network), change.networks.get(network)) for network in networks]
    for name, was, now in rows:
        moved = "" if was is None or now is None else f"{round(now - was, 1) + 0.0:+.1f}"
        table.add_row(name, _points(was), _points(now), moved)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table


def _number(value: float) -> str:
    """Write a sum with as many decimals as it takes to compute the score from it.

    >>> _number(21335.9121), _number(0.0952381)
    ('21,335.91', '0.0952')
    """
    return f"{value:,.{_DECIMALS[value < _FEW]}f}"


def _interactions(events: int) -> str:
    return "1 interaction" if events == 1 else f"{events:,} interactions"


def _points(score: float | None) -> str:
    return "no score" if score is None else f"{score:.1f}"


def _moment(text: str) -> str:
    """Write a time without its letters, and without a fraction of zero.

    >>> _moment("2012-07-07T23:59:53.000Z"), _moment("2012-07-07T23:59:53.250Z")
    ('2012-07-07 23:59:53', '2012-07-07 23:59:53.250')
    """
    return text.removesuffix("Z").removesuffix(".000").replace("T", " ")
