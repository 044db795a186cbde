"""The host's settings over a state directory of the tests' own."""

import os
import tempfile
from pathlib import Path

os.environ["HIVE_STATE_DIR"] = tempfile.mkdtemp(prefix="hive-tests-")
# Nothing is mounted but where a test asks for it.
os.environ["HIVE_AGENT_DISK_MAX"] = "0"
os.environ["HIVE_RUNTIME_DIR"] = os.environ["HIVE_STATE_DIR"] + "/run"

from hyperhive.settings import *  # noqa: E402, F403
from hyperhive.settings import DATABASES  # noqa: E402

# A file, not memory: the writer's thread and the test's have to see the same rows.
DATABASES["default"]["TEST"] = {"NAME": Path(os.environ["HIVE_STATE_DIR"]) / "test.sqlite3"}
