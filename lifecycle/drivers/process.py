"""Driver `process`: the same harness with no isolation at all (level D), for machines where nothing else works."""

import contextlib
import os
import sys

import psutil
from django.conf import settings

from lifecycle import paths

from .local import GRACE, HARNESS, LANG, Local, claude, monitored
from .spec import Spec, Status


class Process(Local):
    name = "process"

    def probe(self) -> str:
        return ""

    def owner(self, spec: Spec) -> int:
        return os.geteuid()

    def argv(self, spec: Spec) -> list[str]:
        return [*monitored("itself"), *(spec.command or (sys.executable, *HARNESS))]

    def env(self, spec: Spec) -> dict[str, str]:
        return LANG | {
            "HIVE_RUN": os.fspath(paths.socket_dir(spec.name, spec.role)),
            "HIVE_JOURNAL": os.fspath(paths.journal_dir(spec.name)),
            "HIVE_AGENT_FILE": os.fspath(paths.agent_file(spec.name)),
            "HIVE_STATE": os.fspath(paths.state_dir(spec.name)),
            "HIVE_WORKSPACE": os.fspath(paths.workspace_dir(spec.name)),
            "HIVE_AGENTS": os.fspath(paths.proposed_dir()),
            "HIVE_CLAUDE": "" if spec.command else os.fspath(claude()),
            "HIVE_PYTHON": sys.executable,
            "CLAUDE_CONFIG_DIR": os.fspath(paths.claude_dir(spec.name)),
            "HOME": os.fspath(paths.home_dir(spec.name)),
            "TMPDIR": "/tmp",  # noqa: S108 (short enough for a socket's path; the harness makes a private directory in it)
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.fspath(settings.PROJECT),
        }

    def stop(self, name: str, grace: float = GRACE) -> Status:
        """The monitor ends what the agent leaves behind; should it be gone itself, we know the descendants from before."""
        status = self.status(name)
        descendants = []
        if status.pid and not status.watched:
            with contextlib.suppress(psutil.Error):
                descendants = psutil.Process(status.pid).children(recursive=True)
        after = super().stop(name, grace)
        for process in descendants:
            # psutil compares the start time first: a pid that is somebody else's by now is left alone.
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(descendants, 5)
        return after
