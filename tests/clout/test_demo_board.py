from clout.demo.board import Board
from schemas.change import ScoreChange


def change(user: str, score: float | None, previous: float | None = None, **networks: float) -> ScoreChange:
    return ScoreChange(user, 1, score, previous, None, networks, "2024-05-01T00:00:00.000Z", "interaction", "1")


def test_the_highest_scores_are_on_top() -> None:
    board = Board()
    board.take([change("a", 10.0), change("b", 30.0), change("c", 20.0), change("b", 5.0, 30.0)])
    assert [standing.user for standing in board.top(2)] == ["c", "a"]
    assert (board.users, board.changes) == (3, 4)


def test_places_are_compared_with_when_they_were_remembered() -> None:
    board = Board()
    board.take([change("a", 10.0), change("b", 30.0)])
    board.remember()
    board.take([change("a", 40.0, 10.0), change("c", 35.0)])
    first, second, third = board.top(3)
    assert (first.user, first.climbed, first.moved) == ("a", 1, 30.0)
    assert (second.user, second.is_new) == ("c", True)
    assert (third.user, third.climbed) == ("b", -2)


def test_a_change_names_the_networks_that_moved() -> None:
    board = Board()
    board.take([change("a", 10.0, twitter=10.0, bluesky=5.0)])
    board.take([change("a", 12.0, 10.0, twitter=10.0, bluesky=7.0)])
    assert board.recent[0].networks == ("bluesky",)


def test_the_largest_moves_of_a_look_are_picked() -> None:
    board = Board()
    board.take([change(f"small-{number}", 10.1, 10.0) for number in range(50)] + [change("large", 40.0, 20.0)])
    assert board.recent[0].change.user != board.recent[1].change.user
    assert "large" in {reason.change.user for reason in board.recent}


def test_a_score_that_stays_is_no_move_whatever_its_parts_do() -> None:
    board = Board()
    board.take([change("a", 10.0, 10.0, twitter=9.9)])
    assert (list(board.recent), board.changes) == ([], 1)


def test_a_forgotten_user_is_not_on_top() -> None:
    board = Board()
    board.take([change("a", 10.0), change("a", None, 10.0), change("b", 2.0)])
    assert board.top(1)[0].user == "b"
