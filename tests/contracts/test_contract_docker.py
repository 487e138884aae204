"""Facts about the image and the composition, read from their files: no Docker is needed here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from project_files import ROOT
from typer.main import get_command

from config.load import ENVIRONMENT_PREFIX, load

FILES = (
    "Dockerfile",
    "docker-compose.yml",
    ".dockerignore",
    "deploy/kraken-smc.env.example",
    "deploy/kraken-smc.service",
)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines)]


def of(wanted: str) -> list[str]:
    """Arguments of every instruction of one kind."""
    return [rest for word, rest in instructions() if word == wanted]


def compose() -> dict[str, Any]:
    """The composition."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


def accept(arguments: list[str]) -> None:
    """Let the command line read `arguments`, without doing them; it raises for what it does not know."""
    app = pytest.importorskip("actors.cli.app").app
    group = get_command(app)
    context = group.make_context("kraken-smc", list(arguments))
    name, command, rest = group.resolve_command(context, list(arguments))  # type: ignore[attr-defined]
    command.make_context(name, rest, parent=context)


def test_everything_the_image_copies_is_there() -> None:
    """Each source exists and is let through to the builder."""
    allowed = (ROOT / ".dockerignore").read_text().split()
    sources = [source for rest in of("COPY") for source in shlex.split(rest)[:-1]]

    assert {"requirements.lock", "actors", "protocol", "sim", "config"} == set(sources)
    assert [source for source in sources if not (ROOT / source).exists() or f"!{source}" not in allowed] == []


def test_the_image_runs_as_nobody_special_on_pinned_packages() -> None:
    """Slim Python, hashes required, a user of its own before anything runs."""
    words = [word for word, _ in instructions()]

    assert of("FROM") == ["python:3.12-slim"]
    assert "--require-hashes" in " ".join(of("RUN"))
    assert of("USER") == ["smc"]
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_the_daemons_commands_are_ones_it_knows() -> None:
    """Image, composition and service start what the command line offers; the health check too, which looks how old the page is."""
    entry = json.loads(of("ENTRYPOINT")[0])
    health = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    service = re.search(r"^ExecStart=\S+python -m actors (.*)$", (ROOT / FILES[-1]).read_text(), re.MULTILINE)

    assert entry == health[:3] == ["python", "-m", "actors"]
    assert service
    assert "--within" in health
    for arguments in (
        json.loads(of("CMD")[0]),
        health[3:],
        compose()["services"]["daemon"]["command"],
        service[1].split(),
    ):
        accept(arguments)


def test_the_composition_is_a_daemon_and_its_database() -> None:
    """The daemon waits for a healthy PostgreSQL 16, both come back by themselves, both keep their data."""
    services, volumes = compose()["services"], compose()["volumes"]

    assert {"daemon", "database"} == set(services)
    assert services["database"]["image"] == "postgres:16"
    assert services["database"]["healthcheck"]["test"]
    assert services["daemon"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(volumes)
        assert "ports" not in service


def test_the_daemons_state_lies_in_its_volume() -> None:
    """What must survive is where the volume is."""
    kept = compose()["services"]["daemon"]["volumes"][0].split(":")[1]
    directory = re.search(r"KRAKEN_SMC__STORE__DIRECTORY=(\S+)", (ROOT / "Dockerfile").read_text())

    assert of("VOLUME") == [kept]
    assert directory
    assert Path(directory[1]).is_relative_to(kept)


def test_the_example_of_secrets_holds_none_and_loads() -> None:
    """The composition names the copy of the example; its settings are ones that exist; its password is empty."""
    lines = (ROOT / "deploy/kraken-smc.env.example").read_text().splitlines()
    example = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_]+=", line))
    files = {service["env_file"] for service in compose()["services"].values()}

    assert files == {"deploy/kraken-smc.env"}
    assert example["POSTGRES_PASSWORD"] == ""
    assert any(name.startswith(ENVIRONMENT_PREFIX) for name in example)
    assert load("paper", "dev", None, None, example).store.database.startswith("postgresql://")


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_deployment_holds_a_secret(name: str) -> None:
    """Passwords, keys and tokens are only ever named, never written."""
    text = (ROOT / name).read_text()

    assert re.findall(r"(?i)(?:password|secret|token|api_?key)\w*[=:][ \t]*['\"]?[^\s'\"$]+", text) == []
    assert re.findall(r"://[^:/\s]+:[^@\s]+@", text) == []
