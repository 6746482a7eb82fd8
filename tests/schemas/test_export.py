from schemas.change import Subscores
from schemas.export import NetworkState, UserState, decode_user, encode_user

USER = UserState(
    user="twitter:813",
    score=26.4,
    sequence=7,
    as_of="2012-07-01T00:02:52.000Z",
    subscores=Subscores(reach=30.1, amplification=25.0, network=20.5),
    networks={
        "twitter": NetworkState(
            reach=0.1 + 0.2, amplification=2.0, network=1e-300, time="2012-07-01T00:02:52.000Z", events=3, score=26.4
        )
    },
)


def test_what_is_written_is_read_back() -> None:
    assert decode_user(encode_user(USER)) == USER


def test_sums_are_not_rounded() -> None:
    assert b'"reach":0.30000000000000004' in encode_user(USER)


def test_a_line_has_no_line_break() -> None:
    assert b"\n" not in encode_user(USER)
