import stat
import threading
from pathlib import Path

import pytest

from schemas.control import Command, verified
from streams.control_secrets import LOCAL_KEY, ControlSecrets, control_secrets
from streams.errors import CloutError
from streams.settings import ControlKeySettings, ControlSettings

COMMAND = Command(id="1", command="forget", user="u", reason="r", key="", issued="2026-01-01T00:00:00Z")
OPS, AUDIT = ControlKeySettings(secret="o" * 16), ControlKeySettings(secret="a" * 16, may=("unforget",))


def test_a_machine_makes_its_secrets_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = control_secrets(ControlSettings(), tmp_path)
    assert control_secrets(ControlSettings(), tmp_path) == first
    [file] = (tmp_path / "control").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert control_secrets(ControlSettings(), tmp_path / "elsewhere") != first


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    found: list[ControlSecrets] = []
    threads = [
        threading.Thread(target=lambda: found.append(control_secrets(ControlSettings(), tmp_path))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(of == found[0] for of in found)


def test_where_everything_is_configured_nothing_is_made(tmp_path: Path) -> None:
    found = control_secrets(ControlSettings(keys={"ops": OPS}, hash_key="h" * 16), tmp_path)
    assert (list(tmp_path.iterdir()), list(found.keys), found.key) == ([], ["ops"], "ops")


def test_the_hash_key_is_that_of_its_text_whatever_its_length(tmp_path: Path) -> None:
    of = {
        text: control_secrets(ControlSettings(keys={"ops": OPS}, hash_key=text), tmp_path) for text in ("h", "h" * 99)
    }
    assert {len(found.hash_key) for found in of.values()} == {64}
    assert len({found.hash_key for found in of.values()}) == 2


def test_a_command_is_signed_with_the_key_of_this_machine(tmp_path: Path) -> None:
    signed = control_secrets(ControlSettings(), tmp_path).signed(COMMAND)
    assert signed.key == LOCAL_KEY
    assert verified(signed, control_secrets(ControlSettings(), tmp_path).keys[LOCAL_KEY].secret)


def test_of_several_keys_one_must_be_named(tmp_path: Path) -> None:
    keys = {"ops": OPS, "audit": AUDIT}
    with pytest.raises(CloutError, match="not settled which key") as caught:
        control_secrets(ControlSettings(keys=keys), tmp_path).signed(COMMAND)
    assert "control.key" in caught.value.hint
    assert control_secrets(ControlSettings(keys=keys, key="ops"), tmp_path).signed(COMMAND).key == "ops"


def test_a_key_signs_only_what_it_may_issue(tmp_path: Path) -> None:
    with pytest.raises(CloutError, match="may not issue forget"):
        control_secrets(ControlSettings(keys={"audit": AUDIT}), tmp_path).signed(COMMAND)


@pytest.mark.parametrize("content", [b"", b"{", b'{"key": "zz", "hash_key": "00"}', b'{"key": "00"}'])
def test_secrets_that_cannot_be_read_are_not_made_anew(tmp_path: Path, content: bytes) -> None:
    control_secrets(ControlSettings(), tmp_path)
    file = tmp_path / "control" / "secrets.json"
    file.write_bytes(content)
    with pytest.raises(CloutError, match="cannot be read"):
        control_secrets(ControlSettings(), tmp_path)
    assert file.read_bytes() == content


def test_a_data_directory_that_cannot_be_written_to_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("a file in the way")
    with pytest.raises(CloutError, match="cannot be"):
        control_secrets(ControlSettings(), tmp_path)
