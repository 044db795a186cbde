"""`host` answers, `hive` asks."""

import json
from types import SimpleNamespace

import pytest

from hyperhive.management.commands.hive import Command

from .fake_host import FakeHost


@pytest.fixture
def host(tmp_path, settings):
    settings.HIVE_RUNTIME_DIR = tmp_path
    host = FakeHost(tmp_path)
    yield host
    host.close()


@pytest.fixture
def hive(capsys):
    """Runs `hive ARGUMENTS` in this process: its exit code, stdout and stderr."""

    def run(*argv):
        try:
            Command().run_from_argv(["hive", "hive", *map(str, argv)])
            code = 0
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err, json=lambda: json.loads(out))

    return run
