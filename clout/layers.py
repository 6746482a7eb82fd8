"""Where settings come from: flags over environment over file, each a layer of dotted keys with an origin.

A key that no setting has is an error that names the nearest valid one.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError, TomlConfigSettingsSource

from streams.errors import CloutError

ENVIRONMENT_PREFIX: Final = "CLOUT_"
CONFIG_VARIABLE: Final = "CLOUT_CONFIG"
RUN_FILE_VARIABLE: Final = "CLOUT_RUN_FILE"
"""Not a setting: where a supervised role says what its address is."""
SHORT_NAMES: Final = {"CLOUT_BROKER": "kafka.broker", "CLOUT_PREFIX": "kafka.prefix"}
TEST_PREFIX: Final = "CLOUT_TEST_"
"""Variables of the test suite are no settings."""
FLAGS: Final = {"kafka.broker": "--broker", "kafka.prefix": "--prefix", "data_dir": "--data-dir"}
FILE: Final = "clout.toml"


class ConfigError(CloutError):
    """A setting that cannot be used: a usage error."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Value:
    """A raw value and where it was found."""

    value: Any
    origin: str


Layer = dict[tuple[str, ...], Value]
"""Raw values by path, for instance ("kafka", "options", "sasl.password")."""


def flag_layer(flags: Mapping[str, str | None]) -> Layer:
    """The settings given as flags, by dotted name.

    >>> flag_layer({"kafka.broker": "localhost:9092", "data_dir": None})
    {('kafka', 'broker'): Value(value='localhost:9092', origin='flag --broker')}
    """
    return {
        tuple(name.split(".")): Value(value, f"flag {FLAGS[name]}")
        for name, value in flags.items()
        if value is not None
    }


def environment_layer(root: type[BaseSettings], environment: Mapping[str, str]) -> Layer:
    """The settings in `CLOUT_` variables: levels are parted by two underscores, tables may be given as JSON."""
    names = {name: _environment_path(root, name) for name in sorted(environment) if _is_setting(name)}
    try:
        table = EnvSettingsSource(root)()
    except SettingsError as error:
        detail, hint = str(error.__cause__ or error), "write tables as JSON objects"
        raise ConfigError("a CLOUT_ variable is not valid JSON", detail=detail, hint=hint) from error
    layer: Layer = {}
    for name, path in names.items():
        origin = f"environment {name}"
        if name in SHORT_NAMES:
            layer[path] = Value(environment[name], origin)
            continue
        value: Any = table
        for key in path:
            value = value[key]
        layer |= _flatten(root, value, origin, path) if isinstance(value, dict) else {path: Value(value, origin)}
    return layer


def file_layer(root: type[BaseSettings], path: Path) -> Layer:
    """The settings in a TOML file."""
    origin = f"file {path}"
    try:
        path.stat()  # the library takes a missing file for an empty one
        table = TomlConfigSettingsSource(root, path)()
    except OSError as error:
        hint = "correct --config or CLOUT_CONFIG"
        raise ConfigError(f"the settings file {path} cannot be read", detail=str(error), hint=hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "correct the file at that place"
        raise ConfigError(f"the settings file {path} is not valid TOML", detail=str(error), hint=hint) from error
    return _flatten(root, table, origin, ())


def settings_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the one named by flag or environment, else clout.toml here, if there is one."""
    named = given or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if named is not None:
        return named.absolute()
    here = Path.cwd() / FILE
    return here if here.exists() else None


def tree(layer: Layer) -> dict[str, Any]:
    """The layer's values as nested tables.

    >>> tree({("kafka", "prefix"): Value("a-", "flag --prefix")})
    {'kafka': {'prefix': 'a-'}}
    """
    root: dict[str, Any] = {}
    for path, value in layer.items():
        table = root
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table[path[-1]] = value.value
    return root


def _is_setting(variable: str) -> bool:
    named = variable.startswith(ENVIRONMENT_PREFIX) and variable not in {CONFIG_VARIABLE, RUN_FILE_VARIABLE}
    return named and not variable.startswith(TEST_PREFIX)


def _environment_path(root: type[BaseSettings], name: str) -> tuple[str, ...]:
    if name in SHORT_NAMES:
        return tuple(SHORT_NAMES[name].split("."))
    path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
    if _type_at(root, path) is None:
        valid = [*SHORT_NAMES, CONFIG_VARIABLE]
        valid += [ENVIRONMENT_PREFIX + "__".join(known).upper() for known in _paths(root)]
        raise ConfigError(f"there is no setting {name} (environment)", hint=_nearest(name, valid))
    return path


def _flatten(root: type[BaseSettings], table: dict[str, Any], origin: str, path: tuple[str, ...]) -> Layer:
    layer: Layer = {}
    at = _type_at(root, path)
    children = _children(at)
    for key, value in table.items():
        here = (*path, key)
        if children is not None and key not in children and not _open_keys(at):
            valid = [".".join((*path, child)) for child in children]
            raise ConfigError(f"there is no setting {'.'.join(here)} ({origin})", hint=_nearest(".".join(here), valid))
        if isinstance(value, dict) and get_args(at) == (str, str):
            # `sasl.password = "x"` without quotes is a table in a table to TOML.
            layer |= {(*path, name): Value(text, origin) for name, text in _dotted(value, key)}
        elif isinstance(value, dict) and _children(_type_at(root, here)) is not None:
            # A network's empty table still names the network.
            layer |= _flatten(root, value, origin, here) or {here: Value({}, origin)}
        else:
            layer[here] = Value(value, origin)
    return layer


def _dotted(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _dotted(value, name)
        else:
            yield name, value


def _nearest(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    return f"the nearest valid one is {near[0]}" if near else "`clout config show` lists all"


def _children(of: Any) -> dict[str, Any] | None:
    """Types of a table's keys by name; None for what is no table."""
    if isinstance(of, type) and issubclass(of, BaseSettings):
        return {name: info.annotation for name, info in of.model_fields.items()}
    if is_dataclass(of):
        return {field.name: field.type for field in fields(of)}
    return {} if _open_keys(of) else None


def _open_keys(of: Any) -> bool:
    return get_origin(_bare(of)) is dict


def _bare(of: Any) -> Any:
    """Return a type without its bounds."""
    return get_args(of)[0] if get_origin(of) is Annotated else of


def _type_at(root: Any, path: tuple[str, ...]) -> Any:
    """The type of the setting at a path, None when there is no such setting."""
    at = root
    for key in path:
        children = _children(at)
        if children is None:
            return None
        at = get_args(_bare(at))[1] if _open_keys(at) else children.get(key)
    return at


def _paths(of: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = _children(of)
    if not children:
        yield path
        return
    for key, child in children.items():
        yield from _paths(child, (*path, key))
