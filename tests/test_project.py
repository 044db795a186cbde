"""The habits that hold the project together, checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
APPS = ("hyperhive", "dashboard", "approvals", "lifecycle", "agents", "broker", "harness")


def contracts(project: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for app in APPS:
        shutil.copytree(
            PROJECT / app, tmp_path / app, ignore=shutil.ignore_patterns("__pycache__", "static", "templates")
        )
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_contract_is_kept(copy: Path) -> None:
    done = contracts(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("harness/turns.py", "import lifecycle.models"),
        ("harness/relay.py", "import pydantic"),
        ("lifecycle/models.py", "import harness.turns"),
        ("broker/models.py", "import agents.models"),
        ("broker/wire.py", "import django"),
    ],
)
def test_a_planted_import_breaks_the_contract(copy: Path, file: str, line: str) -> None:
    with open(copy / file, "a") as source:
        source.write(f"\n{line}\n")
    done = contracts(copy)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_versions_and_hashes_and_names_no_registry(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
    for requirement in re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", text).strip()):
        assert "==" in requirement, requirement
        assert "--hash=sha256:" in requirement, requirement


def test_no_template_switches_escaping_off() -> None:
    switches = re.compile(r"\|\s*safe\b|autoescape\s+off|mark_safe")
    sources = [path for app in APPS for end in ("*.html", "*.py") for path in (PROJECT / app).rglob(end)]
    assert not [str(path) for path in sources if switches.search(path.read_text())]


def test_the_claude_versions_are_named_once() -> None:
    from agents.cli import FLOOR, WANTED

    named = [
        str(path.relative_to(PROJECT))
        for app in (*APPS, "bin")
        for path in (PROJECT / app).rglob("*")
        if path.is_file()
        and path.suffix in ("", ".py", ".sh")
        and re.search(f"[\"'](?:{WANTED}|{FLOOR})[\"']", path.read_text())
    ]
    assert named == ["agents/cli.py"]
