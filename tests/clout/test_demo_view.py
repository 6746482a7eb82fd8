from io import StringIO

import pytest
from rich.console import Console

from clout.demo import view
from clout.demo.board import Board
from clout.demo.health import Health
from schemas.change import ScoreChange

NETWORKS = ("twitter", "mastodon", "bluesky")
HEALTH = Health(
    read=52_345, applied=51_234, self_=123, dead_lettered=45, lag_records=678, partitions_running=4, roles=()
)
MOMENT = view.Moment(12.0, 60.0, 1_714_521_601_000, 52_345, 1_234.0, 1_200.0, 2_345.0, 4, HEALTH)


def change(user: str, score: float, previous: float | None) -> ScoreChange:
    parts = dict.fromkeys(NETWORKS, score)
    return ScoreChange(user, 1, score, previous, None, parts, "2024-05-01T00:00:00.000Z", "interaction", "1")


def screen(width: int) -> str:
    board = Board()
    board.take([change(f"guillermina-{number}", 10.0 + number, None) for number in range(10)])
    board.remember()
    board.take([change("guillermina-9", 98.7, 19.0)])
    console = Console(width=width, height=24, file=StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(view.screen(MOMENT, board, NETWORKS, width, 24))
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_rank_user_score_and_movement_are_shown_at_any_width(width: int) -> None:
    row = next(line for line in screen(width).splitlines() if line.split()[1:2] == ["1"])
    assert row.split()[1:6] == ["1", "·", "guillermina-9", "98.7", "+79.7"]


@pytest.mark.parametrize(("width", "shown"), [(80, 0), (160, 3)])
def test_networks_give_way_where_there_is_no_room(width: int, shown: int) -> None:
    header = next(line for line in screen(width).splitlines() if "score" in line)
    assert sum(network in header for network in NETWORKS) == shown


@pytest.mark.parametrize("width", [80, 100, 120])
def test_nothing_is_cut(width: int) -> None:
    text = screen(width)
    assert "…" not in text
    words = " ".join(text.replace("│", " ").split())
    assert "users 10" in words
    assert "dead letters 45" in words
    right = " ".join(line.split("│")[-2].strip() for line in text.splitlines() if line.count("│") > 2)
    assert "guillermina-9 19.0 → 98.7 by interaction on twitter, mastodon, bluesky" in right
