"""Facts about settings from files: who wins, what is refused, and that each refusal is one line that helps."""

from __future__ import annotations

from decimal import Decimal as D
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.load import MODES_OF, BadSetting, load
from config.settings import Environment, Mode, Settings
from config.strategy import StrategyParams, load_preset

PROFILES = ("conservative", "standard", "aggressive")


def load_text(tmp_path: Path, text: str, **given: Any) -> Settings:
    """Settings of paper in dev over a file with `text`."""
    file = tmp_path / "my.yaml"
    file.write_text(text)
    return load("paper", "dev", file, given.get("overrides"), given.get("environ", {}))


def refusal(tmp_path: Path, text: str, **given: Any) -> str:
    """What is said about a file with `text`, without its directory; always one line."""
    with pytest.raises(BadSetting) as caught:
        load_text(tmp_path, text, **given)
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(("mode", "env"), [(mode, env) for env, modes in MODES_OF.items() for mode in modes])
def test_every_mode_and_environment_that_go_together_load(mode: Mode, env: Environment) -> None:
    """The packaged files are sound by themselves."""
    settings = load(mode, env, None, None, {})

    assert (settings.mode, settings.env) == (mode, env)


def test_a_mode_in_the_wrong_environment_is_refused() -> None:
    """No live orders with paper's settings, no paper with those of prod."""
    for env in get_args(Environment):
        for mode in set(get_args(Mode)) - set(MODES_OF[env]):
            with pytest.raises(BadSetting, match=f"env: {env} is for mode"):
                load(mode, env, None, None, {})


def test_dev_shows_classic_trading() -> None:
    """Dev runs the preset classic and lets its costs pass; prod starts with the smallest risk."""
    dev, prod = load("paper", "dev", None, None, {}), load("live", "prod", None, None, {})

    assert dev.strategy == load_preset("classic")
    assert (dev.profile, dev.risk.cost_max_r) == ("conservative", D(2))
    assert (prod.profile, prod.risk.risk_pct) == ("conservative", D("0.25"))


@pytest.mark.parametrize("preset", ["classic", "runner"])
def test_a_preset_is_what_its_file_says_and_can_be_overridden(tmp_path: Path, preset: str) -> None:
    """The preset lies under everything else that names its fields, and brings the hours its trades last."""
    settings = load_text(tmp_path, f"strategy: {{preset: {preset}, adx_min: 25}}")
    longer = load_text(tmp_path, f"strategy: {{preset: {preset}}}\nrisk: {{expected_hold_h: 9}}")

    assert settings.strategy == load_preset(preset).model_copy(update={"adx_min": 25.0})
    assert (settings.risk.expected_hold_h, longer.risk.expected_hold_h) == ({"classic": 5, "runner": 72}[preset], 9)


def test_profiles_grow_bolder_one_after_the_other() -> None:
    """Each limit of a bolder profile is at least as wide, the risk of a trade strictly larger."""
    cautious, standard, bold = (load("paper", "dev", None, {"profile": name}, {}).risk for name in PROFILES)

    assert [D("0.25"), D("0.5"), D(1)] == [risk.risk_pct for risk in (cautious, standard, bold)]
    for field in ("leverage_cap", "exposure_max_x", "positions_max", "daily_loss_max_pct", "drawdown_max_pct"):
        assert getattr(cautious, field) <= getattr(standard, field) <= getattr(bold, field)
    for field in ("liquidation_buffer_pct", "cooldown_h"):
        assert getattr(cautious, field) >= getattr(standard, field) >= getattr(bold, field)


def test_the_standard_profile_is_the_defaults() -> None:
    """What is written out and what the model says do not drift apart."""
    risk = load("paper", "paper", None, None, {}).risk

    assert risk == Settings().risk


def test_later_sources_win(tmp_path: Path) -> None:
    """Environment file, profile, own file, variable, command line: each over the one before."""
    file = tmp_path / "my.yaml"
    file.write_text("profile: aggressive\nrisk: {positions_max: 4, loss_streak_max: 5, cooldown_h: 7}\n")
    environ = {"KRAKEN_SMC__RISK__LOSS_STREAK_MAX": "6", "KRAKEN_SMC__RISK__COOLDOWN_H": "8", "HOME": "/"}
    risk = load("paper", "dev", file, {"risk.cooldown_h": 9}, environ).risk

    assert (D(2), D(1)) == (risk.cost_max_r, risk.risk_pct)
    assert (risk.positions_max, risk.loss_streak_max, risk.cooldown_h) == (4, 6, 9)


def test_the_command_line_may_choose_profile_and_preset() -> None:
    """The last word on a name counts, dotted or nested."""
    dotted = load("paper", "dev", None, {"strategy.preset": "runner", "profile": "aggressive"}, {})
    nested = load("paper", "dev", None, {"strategy": {"preset": "runner"}, "profile": "aggressive"}, {})

    assert dotted == nested
    assert (StrategyParams(), D(1)) == (dotted.strategy, dotted.risk.risk_pct)


def test_words_stay_words(tmp_path: Path) -> None:
    """`off` is not false, a date not a moment, 12:30 not a number, 007 not eight; decimals keep their digits."""
    settings = load_text(
        tmp_path,
        "strategy: {exit_on_choch: off, pd_filter: true}\nmarket: {start: 2026-01-05T00:00:00Z}\nrisk: {risk_pct: 0.1}\n"
        "store: {directory: 12:30}\nexecution: {order_notional_max_usd: 25_000}\n",
    )

    assert settings.strategy.exit_on_choch == "off"
    assert settings.market.start == "2026-01-05T00:00:00Z"
    assert settings.store.directory == "12:30"
    assert str(settings.risk.risk_pct) == "0.1"
    assert (D(25_000), True) == (settings.execution.order_notional_max_usd, settings.strategy.pd_filter)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """A file of comments is a file."""
    assert load_text(tmp_path, "# nothing yet\n") == load("paper", "dev", None, None, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("risk: {leverage_cap: 11}", "my.yaml: risk.leverage_cap: 11 is above 10 (a cap that cannot be raised)"),
        ("risk: {risk_pct: 0}", "my.yaml: risk.risk_pct: 0 must be above 0"),
        ("risk: {positions_max: 0}", "my.yaml: risk.positions_max: 0 is below 1, the least allowed"),
        ("risk: {risk_pt: 1}", "my.yaml: risk.risk_pt: no such setting, did you mean risk_pct?"),
        ("rsik: {}", "my.yaml: rsik: no such setting, did you mean risk?"),
        ("store: {zzz: 1}", "my.yaml: store.zzz: no such setting; there are database, directory"),
        (
            "symbols: [{spot: BTC/USD, futures: XBT}]",
            "my.yaml: symbols.0.futures: 'XBT' does not have the form ^PF_[A-Z0-9]+$",
        ),
        ("symbols: [{spot: BTC/USD}]", "my.yaml: symbols.0.futures: is needed"),
        ("symbols: [{spot: BTC/USD, futures: PF_XBTUSD, x: 1}]", "my.yaml: symbols.0.x: no such setting"),
        ("symbols: []", "my.yaml: symbols: at least one is needed"),
        ("risk:\nfeeds: {}", "my.yaml: risk: nothing is no group of `name: value` lines"),
        (
            "symbols: [{spot: BTC/USD, futures: PI_XBTUSD}]",
            "my.yaml: symbols.0.futures: 'PI_XBTUSD' does not have the form",
        ),
        ("market: {start: yesterday}", "my.yaml: market.start: 'yesterday' is no date: write 2026-01-05"),
        ("market: {start: 2026-01-05T10:00:00Z}", "my.yaml: market.start: '2026-01-05T10:00:00Z' is no midnight UTC"),
        (
            "market: {start: 1900-01-01}",
            "my.yaml: market.start: '1900-01-01' is no midnight UTC between 2002 and 2280",
        ),
        (
            "strategy: {exit_on_choch: never}",
            "my.yaml: strategy.exit_on_choch: 'never' is not one of 'exec', '4h' or 'off'",
        ),
        ("strategy: {preset: x}", "my.yaml: strategy.preset: 'x' is not one of classic, runner"),
        ("strategy: {atr_pct_max: 0.001, atr_pct_min: 0.01}", "my.yaml: strategy: atr_pct_min must be below"),
        (
            "profile: ../prod",
            "my.yaml: profile: '../prod' is not one of aggressive, conservative, standard",
        ),
        ("risk: {cooldown_h: soon}", "my.yaml: risk.cooldown_h: 'soon': input should be a valid integer"),
        ("risk: {risk_pct: .inf}", "my.yaml: risk.risk_pct: '.inf': input should be a valid decimal"),
        ("store: {database: x.sqlite}", "my.yaml: store.database: string should match pattern '^$|^postgresql"),
        ("risk: 3", "my.yaml: risk: 3 is no group of `name: value` lines"),
        ("mode: live", "my.yaml: mode: 'live' contradicts the command line's 'paper'"),
        ("env: prod", "my.yaml: env: 'prod' contradicts the command line's 'dev'"),
        ("risk: {a: 1, a: 2}", "my.yaml: line 1: 'a' stands twice"),
        ("a: 1\nb: [", "my.yaml: line 2: "),
        ("x: !!python/object:os.system {}", "my.yaml: line 1: could not determine a constructor"),
        ("a: &a {b: 1}\nc: *a", "my.yaml: line 2: an alias (*) is not allowed"),
        ("1: 2", "my.yaml: line 1: 1 is no name"),
        ("- a", "my.yaml: holds list, not `name: value` lines"),
        ("a: \x07", "my.yaml: is not YAML text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """File, field, value, and what is allowed."""
    assert refusal(tmp_path, text).startswith(said)


def test_the_two_names_of_one_wait_must_agree(tmp_path: Path) -> None:
    """Candles wait by `feeds.settle_ms`; the strategy's own, which only names the parameters, is not accepted and ignored."""
    said = refusal(tmp_path, "strategy: {settle_ms: 9000}")
    assert said == "settings: strategy.settle_ms: 9000 is not feeds.settle_ms (3000), by which candles wait: set both"
    both = load_text(tmp_path, "strategy: {settle_ms: 9000}\nfeeds: {settle_ms: 9000}")
    assert both.feeds.settle_ms == both.strategy.settle_ms == 9000
    assert load_text(tmp_path, "feeds: {settle_ms: 0}").feeds.settle_ms == 0


def test_two_faults_are_both_named(tmp_path: Path) -> None:
    """One run of the command shows all there is to mend."""
    said = refusal(tmp_path, "risk: {risk_pct: 2, leverage_cap: 20}")

    assert "risk.risk_pct: 2 is above 1" in said
    assert "risk.leverage_cap: 20 is above 10" in said


def test_each_place_is_named_as_itself(tmp_path: Path) -> None:
    """The variable and the command line are sources like files."""
    variable = refusal(tmp_path, "", environ={"KRAKEN_SMC__RISK__RISK_PCT": "5"})
    line = refusal(tmp_path, "", overrides={"risk": {"risk_pct": 5}})

    assert variable.startswith("environment variable KRAKEN_SMC__RISK__RISK_PCT: risk.risk_pct: 5 is above 1")
    assert line.startswith("command line: risk.risk_pct: 5 is above 1")


@pytest.mark.parametrize("name", ["KRAKEN_SMC_RISK__RISK_PCT", "KRAKEN_SMC_RISK_PCT"])
def test_a_variable_that_is_nearly_ours_is_refused(tmp_path: Path, name: str) -> None:
    """An underscore too few must not leave the packaged risk in force without a word; the key pair is no setting."""
    said = refusal(tmp_path, "", environ={name: "0.1"})
    assert said == f"environment variable {name}: is no setting: two underscores each, as in KRAKEN_SMC__RISK__RISK_PCT"
    load_text(tmp_path, "", environ={"KRAKEN_SMC_API_KEY_FILE": "key", "KRAKEN_SMCX": "1"})


def test_a_password_is_kept_and_never_shown(tmp_path: Path) -> None:
    """A database address of any characters comes through a variable; an error about it does not repeat it."""
    address = "postgresql://smc:p%40ss*&!@db/ledger"
    settings = load_text(tmp_path, "", environ={"KRAKEN_SMC__STORE__DATABASE": address})

    assert address == settings.store.database
    assert "hunter2" not in refusal(tmp_path, "store: {database: [hunter2]}")
    assert "31337" not in refusal(tmp_path, "store: {database: 31337}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, a directory, or no text."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    for file, said in [("absent.yaml", "No such file"), ("", "Is a directory"), ("binary.yaml", "not UTF-8")]:
        with pytest.raises(BadSetting, match=said):
            load("paper", "dev", tmp_path / file, None, {})


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_no_text_does_anything_but_load_or_be_refused(text: str) -> None:
    """Whatever stands in a variable, the outcome is settings or one line."""
    try:
        load("paper", "dev", None, None, {"KRAKEN_SMC__RISK__COOLDOWN_H": text})
    except BadSetting as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # loading is a good outcome too


def test_every_packaged_file_is_installed() -> None:
    """The package carries what the loader reads."""
    names = {entry.name for entry in files("config").iterdir()}

    assert {"dev.yaml", "paper.yaml", "prod.yaml", "profiles", "presets"} <= names
    assert {f"{name}.yaml" for name in PROFILES} == {e.name for e in files("config").joinpath("profiles").iterdir()}
