from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clout.config import load
from clout.layers import FLAGS, ConfigError
from clout.main import GLOBAL_FLAGS, globals_first


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CLOUT_BROKER", "CLOUT_CONFIG", "CLOUT_DATA_DIR", "CLOUT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path.cwd() / "clout.toml"
    path.write_text(text, encoding="utf-8")
    return path


def origin(flags: dict[str, str | None], name: str) -> str:
    return next(origin for row, _, origin in load(flags).rows() if row == name)


def test_without_any_source_every_setting_is_a_default() -> None:
    assert {origin for _, _, origin in load({}).rows()} == {"default"}


def test_a_flag_wins_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [load({}).settings.kafka.prefix]
    write('[kafka]\nprefix = "file-"\n')
    seen.append(load({}).settings.kafka.prefix)
    monkeypatch.setenv("CLOUT_KAFKA__PREFIX", "environment-")
    seen.append(load({}).settings.kafka.prefix)
    seen.append(load({"kafka.prefix": "flag-"}).settings.kafka.prefix)
    assert seen == ["", "file-", "environment-", "flag-"]


def test_each_value_tells_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("[lanes]\npartitions = 2\n")
    monkeypatch.setenv("CLOUT_BROKER", "localhost:9092")
    flags: dict[str, str | None] = {"kafka.prefix": "a-"}
    assert origin(flags, "lanes.partitions") == f"file {path}"
    assert origin(flags, "kafka.broker") == "environment CLOUT_BROKER"
    assert origin(flags, "kafka.prefix") == "flag --prefix"


def test_sources_add_up_within_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[worker]\nstop_seconds = 5\n")
    monkeypatch.setenv("CLOUT_WORKER__COMMIT_INTERVAL_MS", "250")
    worker = load({}).settings.worker
    assert (worker.stop_seconds, worker.commit_interval_ms) == (5, 250)


def test_an_unknown_key_in_the_file_names_the_file_and_the_nearest_valid_key() -> None:
    path = write("[kafka]\nprefx = 'a-'\n")
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.error == f"there is no setting kafka.prefx (file {path})"
    assert caught.value.hint == "the nearest valid one is kafka.prefix"


def test_an_unknown_key_of_a_network_is_an_error() -> None:
    write("[networks.twitter]\nfromat = 'native'\n")
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.hint == "the nearest valid one is networks.twitter.format"


def test_an_unknown_variable_names_the_nearest_valid_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUT_DATADIR", "/nowhere")
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.hint == "the nearest valid one is CLOUT_DATA_DIR"


def test_an_unknown_key_inside_a_json_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUT_LANES", '{"partition": 3}')
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.hint == "the nearest valid one is lanes.partitions"


def test_a_table_variable_that_is_no_json_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUT_LANES", "three")
    with pytest.raises(ConfigError, match="not valid JSON"):
        load({})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[lanes]\npartitions = 0", "lanes.partitions"),
        ("[lanes]\npartitions = 'four'", "lanes.partitions"),
        ("lanes = 4", "lanes"),
        ("[kafka]\nprefix = 'a/b'", "kafka.prefix"),
        ("[model]\nname = 'a b'", "model.name"),
        ("[model]\ninfluence_floor = 0", "model.influence_floor"),
        ("[networks.Twitter]\nraw_partitions = 1", "networks.Twitter"),
        ("[networks.twitter]\nformat = 'natve'", "networks.twitter.format"),
        ("log_level = 'loud'", "log_level"),
        ("[ingest]\nsession_timeout_seconds = 61", "ingest.session_timeout_seconds"),
        ("[worker]\nsession_timeout_seconds = 61", "worker.session_timeout_seconds"),
        ("[guard]\nsession_timeout_seconds = 61", "guard.session_timeout_seconds"),
    ],
)
def test_a_bad_value_names_its_setting_and_its_origin(text: str, name: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.error == f"the setting {name} cannot be used"
    assert str(path) in caught.value.detail


def test_a_file_that_is_no_toml_says_where() -> None:
    path = write("[kafka\n")
    with pytest.raises(ConfigError) as caught:
        load({})
    assert str(path) in caught.value.error
    assert "line 1" in caught.value.detail


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        load({}, tmp_path / "absent.toml")


def test_the_environment_may_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[lanes]\npartitions = 7\n", encoding="utf-8")
    monkeypatch.setenv("CLOUT_CONFIG", "other.toml")
    assert load({}).settings.lanes.partitions == 7


def test_networks_in_the_file_replace_the_default_ones() -> None:
    write("[networks.fediverse]\n")
    assert list(load({}).settings.networks) == ["fediverse"]


def test_the_environment_changes_one_network_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[networks.a]\n[networks.b]\n")
    monkeypatch.setenv("CLOUT_NETWORKS__B__RAW_PARTITIONS", "9")
    networks = load({}).settings.networks
    assert (networks["a"].raw_partitions, networks["b"].raw_partitions) == (4, 9)


@pytest.mark.parametrize("key", ['"sasl.password"', "sasl.password"])
def test_options_keep_their_dots_with_and_without_quotes(key: str) -> None:
    write(f'[kafka.options]\n{key} = "sesame"\n')
    assert load({}).settings.kafka.options == {"sasl.password": "sesame"}


def test_passwords_are_not_shown() -> None:
    write('[kafka.options]\n"sasl.password" = "sesame"\n"ssl.key.password" = "sesame"\n')
    assert "sesame" not in str(list(load({}).rows()))


def test_passwords_are_not_in_errors() -> None:
    write('[kafka]\nbroker = 1\n[kafka.options]\n"sasl.password" = ["sesame"]\n')
    with pytest.raises(ConfigError) as caught:
        load({})
    assert "sesame" not in str(caught.value)


def test_a_relative_data_directory_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "clout.toml"
    file.write_text("data_dir = 'state'\n", encoding="utf-8")
    assert load({}, file).settings.data_dir == tmp_path / "elsewhere" / "state"


def test_a_relative_data_directory_in_a_flag_is_relative_to_the_current_directory(tmp_path: Path) -> None:
    assert load({"data_dir": "state"}).settings.data_dir == tmp_path / "state"


def test_names_carry_prefix_and_model() -> None:
    write("[model]\nname = 'trial'\n")
    assert load({"kafka.prefix": "a-"}).settings.names.changes == "a-scores.changes.trial.v1"


def test_every_flag_of_a_setting_may_stand_anywhere() -> None:
    assert {*FLAGS.values(), "--config"} == set(GLOBAL_FLAGS)


@given(st.integers(0, 3), st.sampled_from(GLOBAL_FLAGS), st.booleans())
def test_a_global_option_means_the_same_wherever_it_stands(place: int, flag: str, joined: bool) -> None:
    option = [f"{flag}=x"] if joined else [flag, "x"]
    words = ["broker", "status", "--address"]
    assert globals_first([*words[:place], *option, *words[place:]]) == [*option, *words]


KEY = 'secret = "0123456789abcdef"'


def test_secrets_of_commands_are_masked_and_what_their_keys_may_do_is_shown() -> None:
    write(f'[control]\nhash_key = "0123456789abcdef"\n[control.keys.ops]\n{KEY}\nmay = ["forget"]\n')
    shown = {name: value for name, value, _ in load({}).rows() if name.startswith("control.")}
    assert shown.pop("control.keys.ops.secret") == shown.pop("control.hash_key") == "********"
    assert shown == {"control.keys.ops.may": ("forget",), "control.key": ""}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[control.keys.ops]\nsecret = "secret of 15 ch"', "control.keys.ops.secret"),
        ("[control.keys.ops]", "control.keys.ops.secret"),
        (f'[control.keys.ops]\n{KEY}\nmay = ["obey"]', "control.keys.ops.may.0"),
        (f"[control.keys.{'k' * 65}]\n{KEY}", f"control.keys.{'k' * 65}"),
        ("\n".join(f"[control.keys.k{number}]\n{KEY}" for number in range(17)), "control.keys"),
        (f'[control]\nkey = "other"\n[control.keys.ops]\n{KEY}', "control.key"),
        ('[control]\nhash_key = "short"', "control.hash_key"),
        ('[control.keys]\nops = "0123456789abcdef"', "control.keys.ops"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_telling_them(text: str, name: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.error == f"the setting {name} cannot be used"
    for secret in ("0123456789abcdef", "secret of 15 ch", "'short'"):
        assert secret not in str(caught.value)


def test_as_many_keys_as_there_may_be_can_be_used() -> None:
    write("\n".join(f"[control.keys.k{number}]\n{KEY}" for number in range(16)))
    assert len(load({}).settings.control.keys) == 16


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"[guard.webhooks.acme]\n{KEY}", "guard.webhooks.acme.url"),
        (f'[guard.webhooks.acme]\n{KEY}\nurl = "http://acme.example/"', "guard.webhooks.acme.url"),
        (f'[guard.webhooks.acme]\n{KEY}\nurl = "ftp://acme.example/"', "guard.webhooks.acme.url"),
        (f'[guard.webhooks.acme]\n{KEY}\nurl = "https://me:pass@acme.example/"', "guard.webhooks.acme.url"),
        (f'[guard.webhooks.acme]\n{KEY}\nurl = "https://acme.example:port/"', "guard.webhooks.acme.url"),
        (f'[guard.webhooks.acme]\n{KEY}\nurl = "https:///incidents"', "guard.webhooks.acme.url"),
        ('[guard.webhooks.acme]\nurl = "https://acme.example/"', "guard.webhooks.acme.secret"),
        (
            '[guard.webhooks.acme]\nurl = "https://acme.example/"\nsecret = "secret of 15 ch"',
            "guard.webhooks.acme.secret",
        ),
        (
            '[guard.webhooks.acme]\nurl = "https://acme.example/"\nsecret = "whsec_not Base64 at all"',
            "guard.webhooks.acme.secret",
        ),
        (f'[guard.webhooks."The Acme"]\n{KEY}\nurl = "https://acme.example/"', "guard.webhooks.The Acme"),
    ],
)
def test_webhooks_that_cannot_be_used_are_refused_without_telling_their_secrets(text: str, name: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.error == f"the setting {name} cannot be used"
    for secret in ("0123456789abcdef", "secret of 15 ch", "not Base64"):
        assert secret not in str(caught.value)


def test_a_misspelt_key_of_a_webhook_is_named_and_what_it_holds_is_not() -> None:
    write('[guard.webhooks.acme]\nurl = "https://acme.example/"\nsecert = "0123456789abcdef"')
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.hint == "the nearest valid one is guard.webhooks.acme.secret"
    assert "0123456789abcdef" not in str(caught.value)


def test_a_webhook_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUT_GUARD__WEBHOOKS__ACME__URL", "https://acme.example/")
    monkeypatch.setenv("CLOUT_GUARD__WEBHOOKS__ACME__SECRET", "0123456789abcdef")
    assert load({}).settings.guard.webhooks["acme"].secret == "0123456789abcdef"  # noqa: S105 - no secret


def test_a_webhook_on_this_machine_may_go_without_tls_and_its_secret_is_masked() -> None:
    write(f'[guard.webhooks.acme]\n{KEY}\nurl = "http://127.0.0.1:8080/"')
    shown = {name: value for name, value, _ in load({}).rows() if name.startswith("guard.webhooks.")}
    assert shown == {"guard.webhooks.acme.url": "http://127.0.0.1:8080/", "guard.webhooks.acme.secret": "********"}
