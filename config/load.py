"""From files to settings: packaged environment <- profile <- a person's file <- environment variables <- command line.

Whatever is wrong ends in one line that names where it stands, which field, and what is allowed. Files are plain
data: YAML without tags, aliases, duplicate keys, or words that turn into something else (`off`, `12:30`, dates).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.settings import Environment, Mode, Settings

ENVIRONMENT_PREFIX: Final = "KRAKEN_SMC__"
"""`KRAKEN_SMC__RISK__RISK_PCT=0.25` sets `risk.risk_pct`."""
NAME_PREFIX: Final = "KRAKEN_SMC_"
KEY_PREFIX: Final = "KRAKEN_SMC_API_"
"""The key pair, which is no setting. What else begins with our name is a setting whose name is wrong."""

MODES_OF: Final[dict[Environment, tuple[Mode, ...]]] = {
    "dev": ("backtest", "paper", "live"),
    "paper": ("backtest", "paper"),
    "prod": ("backtest", "live"),
}

SECRET: Final = frozenset({"store.database"})
"""Fields whose value is never shown, in an error either: they may hold a password."""

Layer = Mapping[str, Any]


class BadSetting(ValueError):
    """A setting that cannot be used. The text is one line: `my.yaml: risk.leverage_cap: 11 is above 10 (...)`."""


class Source(NamedTuple):
    """Settings as they stand in one place, and the name of that place."""

    name: str
    values: Layer


def load(
    mode: Mode,
    env: Environment,
    file: Path | None,
    overrides: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    overrides_from: str = "command line",
) -> Settings:
    """The effective settings. `overrides` are nested or dotted (`risk.risk_pct`), as the command line gives them, or whoever
    `overrides_from` names.

    Raises BadSetting.
    """
    if mode not in MODES_OF[env]:
        raise BadSetting(f"command line: env: {env} is for mode {' and '.join(MODES_OF[env])}, not {mode}")
    packaged = _packaged(f"{env}.yaml")
    own = [] if file is None else [Source(str(file), _read(str(file), file))]
    asked = [packaged, *own, *_variables(environ), Source(overrides_from, _nested(overrides or {}))]
    profile = _named(asked, ("profile",), "profiles") or _packaged(f"profiles/{_default('profile')}.yaml")
    preset = _named(asked, ("strategy", "preset"), "presets")
    values, origins = _merged([*([preset] if preset else []), packaged, profile, *asked[1:]])
    if isinstance(values.get("strategy"), dict):
        values["strategy"].pop("preset", None)
    for name, wanted in (("mode", mode), ("env", env)):
        if values.setdefault(name, wanted) != wanted:
            raise BadSetting(f"{origins[name,]}: {name}: {values[name]!r} contradicts the command line's {wanted!r}")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise BadSetting("; ".join(_line(detail, origins) for detail in error.errors())) from error


# --- where settings stand ------------------------------------------------------------------------------------


def _packaged(path: str) -> Source:
    return Source(path, parsed(path, files("config").joinpath(path).read_text(encoding="utf-8")))


def _choices(folder: str) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in files("config").joinpath(folder).iterdir())


def _default(field: str) -> Any:
    return Settings.model_fields[field].default


def _named(sources: list[Source], path: tuple[str, ...], folder: str) -> Source | None:
    """The packaged file of `folder` that the last source with something at `path` names."""
    for source in reversed(sources):
        value: Any = source.values
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            continue
        choices = _choices(folder)
        if value not in choices:
            raise BadSetting(f"{source.name}: {'.'.join(path)}: {value!r} is not one of {', '.join(choices)}")
        return _packaged(f"{folder}/{value}.yaml")
    return None


def _read(name: str, file: Path) -> Layer:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSetting(f"{name}: is not UTF-8 text") from error
    return parsed(name, text)


def _variables(environ: Mapping[str, str]) -> Iterator[Source]:
    """Each variable as a source of its own, so that an error names it."""
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX):
            keys = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            yield Source(f"environment variable {variable}", _at(keys, scalar(environ[variable])))
        elif variable.startswith(NAME_PREFIX) and not variable.startswith(KEY_PREFIX):
            raise BadSetting(
                f"environment variable {variable}: is no setting: two underscores each, as in {ENVIRONMENT_PREFIX}RISK__RISK_PCT"
            )


def scalar(text: str) -> Any:
    """The value a YAML file would hold for text of a variable or an option; text that is no YAML (a password may be anything) is itself."""
    try:
        return yaml.load(text, Loader=_Strict)
    except yaml.YAMLError:
        return text


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        branch = _at(key.split("."), _nested(value) if isinstance(value, Mapping) else value)
        _merge(nested, branch, (), "command line", {})
    return nested


def _at(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


# --- merging -------------------------------------------------------------------------------------------------

Origins = dict[tuple[str, ...], str]


def _merged(sources: list[Source]) -> tuple[dict[str, Any], Origins]:
    """Later sources win, key by key; lists are replaced whole. With it, where each value came from."""
    values: dict[str, Any] = {}
    origins: Origins = {}
    for source in sources:
        _merge(values, source.values, (), source.name, origins)
    return values, origins


def _merge(into: dict[str, Any], new: Layer, path: tuple[str, ...], name: str, origins: Origins) -> None:
    for key, value in new.items():
        here = (*path, key)
        origins[here] = name
        if isinstance(value, Mapping):
            there = into.get(key)
            into[key] = there if isinstance(there, dict) else {}
            _merge(into[key], value, here, name, origins)
        else:
            into[key] = value


# --- strict YAML ---------------------------------------------------------------------------------------------


class _Strict(yaml.SafeLoader):
    """YAML as plain data: true, false, null, numbers and text; each key once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # a class table by PyYAML's design

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias (*) is not allowed", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*)?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?[0-9]+(\.|\.?[eE][-+]?[0-9]+)", "-+.0123456789"),
):
    _Strict.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def parsed(name: str, text: str) -> Layer:
    """The values of a YAML text that stands in `name`. Raises BadSetting."""
    try:
        values = yaml.load(text, Loader=_Strict)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadSetting(f"{name}: line {line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BadSetting(f"{name}: is not YAML text: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadSetting(f"{name}: holds {type(values).__name__}, not `name: value` lines")
    return values


# --- one line about what is wrong ----------------------------------------------------------------------------


def _line(detail: ErrorDetails, origins: Origins) -> str:
    path = tuple(str(part) for part in detail["loc"])
    field = ".".join(path)
    parts = [_origin(path, origins), field, _what(detail, field)]
    return ": ".join(part for part in parts if part)


def _origin(path: tuple[str, ...], origins: Origins) -> str:
    """Where the field, or the nearest thing around it, was written."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return "settings"


_WHAT: Final[dict[str, Callable[[Any, dict[str, Any]], str]]] = {
    "less_than_equal": lambda value, limits: f"{value} is above {limits['le']} (a cap that cannot be raised)",
    "less_than": lambda value, limits: f"{value} must be below {limits['lt']}",
    "greater_than_equal": lambda value, limits: f"{value} is below {limits['ge']}, the least allowed",
    "greater_than": lambda value, limits: f"{value} must be above {limits['gt']}",
    "literal_error": lambda value, limits: f"{value!r} is not one of {limits['expected']}",
    "string_pattern_mismatch": lambda value, limits: f"{value!r} does not have the form {limits['pattern']}",
    "model_type": lambda value, _limits: (
        f"{'nothing' if value is None else repr(value)} is no group of `name: value` lines"
    ),
    "missing": lambda _value, _limits: "is needed",
}


def _what(detail: ErrorDetails, field: str) -> str:
    kind, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(detail["loc"])
    if kind == "value_error":
        return str(limits["error"])
    if kind in _WHAT and field not in SECRET:
        return _WHAT[kind](value, limits)
    shown = "" if field in SECRET or isinstance(value, (dict, list)) else f"{value!r}: "
    return shown + detail["msg"][0].lower() + detail["msg"][1:]


def _unknown(path: tuple[int | str, ...]) -> str:
    known = _names_at(path[:-1])
    near = get_close_matches(str(path[-1]), known, n=1)
    return f"no such setting, did you mean {near[0]}?" if near else f"no such setting; there are {', '.join(known)}"


def _names_at(path: tuple[int | str, ...]) -> list[str]:
    """The names of the settings in the section at `path`."""
    section: Any = Settings
    for part in path:
        section = get_args(section)[0] if isinstance(part, int) else section.model_fields[part].annotation
    return sorted(section.model_fields) if issubclass(section, BaseModel) else []
