"""nix/python.json says what requirements.lock and requirements-dev.lock say, and Nix takes all of it and nothing else."""

import fnmatch
import importlib.util
import json
import tomllib
from types import ModuleType

import pytest

from .nix import PROJECT, evaluate

PYTHON = json.loads((PROJECT / "nix/python.json").read_text())


@pytest.fixture(scope="module")
def lock2nix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock2nix", PROJECT / "nix/lock2nix.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_holds_each_locked_package_at_its_version(lock2nix: ModuleType) -> None:
    locked = {lock2nix.plain(name): version for name, version, _ in lock2nix.locked("requirements-dev.lock")}
    assert {name: package["version"] for name, package in PYTHON.items()} == locked, "run: python nix/lock2nix.py"
    run = {lock2nix.plain(name) for name, _, _ in lock2nix.locked("requirements.lock")}
    assert {name for name, package in PYTHON.items() if package["group"] == "run"} == run


def test_each_wheel_is_one_that_the_lock_allows(lock2nix: ModuleType) -> None:
    hashes = {lock2nix.plain(name): known for name, _, known in lock2nix.locked("requirements-dev.lock")}
    for name, package in PYTHON.items():
        for file in package["files"].values():
            assert file["sha256"] in hashes[name], name
            assert lock2nix.plain(file["pname"]) == name


def test_each_package_fits_every_system_with_one_wheel_for_it(lock2nix: ModuleType) -> None:
    for name, package in PYTHON.items():
        assert set(package["files"]) in ({"any"}, set(lock2nix.SYSTEMS)), name
        for system, file in package["files"].items():
            assert file["platform"] == "any" if system == "any" else file["platform"].endswith(lock2nix.SYSTEMS[system])
            assert file["python"] in ("py3", "py2.py3", f"cp{lock2nix.PYTHON}") or file["abi"] == "abi3", name


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
def test_nix_takes_all_that_runs_a_hive_and_nothing_that_only_judges_one(system: str) -> None:
    found = evaluate(f"map (p: [ p.pname p.version p.src.sha256 ]) self.packages.{system}.default.modules.dependencies")
    wanted = [
        [name, package["version"], (package["files"].get("any") or package["files"][system])["sha256"]]
        for name, package in PYTHON.items() if package["group"] == "run"
    ]  # fmt: skip
    assert found == wanted


def test_nix_asks_for_the_wheel_by_the_name_that_the_index_knows() -> None:
    names = evaluate("map (p: p.src.pname) self.packages.x86_64-linux.default.modules.dependencies")
    version = PYTHON["django-htmx"]["version"]
    assert f"django_htmx-{version}-py3-none-any.whl" in names
    assert all(name.endswith(".whl") for name in names)


def test_the_python_of_nix_is_the_one_that_the_wheels_are_for(lock2nix: ModuleType) -> None:
    assert f"python{lock2nix.PYTHON}" in (PROJECT / "nix/python.nix").read_text()


def test_every_file_of_the_apps_is_in_the_package() -> None:
    """setuptools takes Python by itself; pages and pictures only when they are named."""
    tool = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    apps = [name.removesuffix("*") for name in tool["packages"]["find"]["include"]]
    patterns = [pattern.replace("**", "*") for pattern in tool["package-data"]["*"]]
    for app in apps:
        for file in (PROJECT / app).rglob("*"):
            if file.is_dir() or "__pycache__" in file.parts:
                continue
            inside = str(file.relative_to(PROJECT / app))
            if file.suffix == ".py":
                assert (file.parent / "__init__.py").exists(), f"{file.parent} is no package"
            else:
                assert any(fnmatch.fnmatch(inside, pattern) for pattern in patterns), f"{file} would be left out"
