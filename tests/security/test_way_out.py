"""A whole hive, whose agent has no network, no key and no credentials inside: what gets out, and who hears of what does not."""

import base64
import hashlib
import json
import os
import shlex
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperhive.demo.model import ScriptedModel
from hyperhive.demo.rules import Rule, Use
from tests.e2e.conftest import open_browser
from tests.hives import Hive, free_port, until

from .hostile_claude import FILES, lay
from .standin import Page, Web, certificate, files

pytestmark = [pytest.mark.claude, pytest.mark.bwrap, pytest.mark.timeout(180)]

KEY = "sk-ant-real-7f3e9c51"
RULES = [
    Rule(used="Bash", reply="done"),
    Rule(user="^please work$", reply=Use("Bash", {"command": "touch /state/nest/workspace/marks/bash"})),
    Rule(user=r"please run: (?P<command>.+?) #", reply=Use("Bash", {"command": "{command}", "description": "work"})),
    Rule(reply="hello"),
]


class Lab:
    """The hive, its model, the web around it, and what scout's shell answers."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.model = ScriptedModel(RULES).start()
        (folder / "key").write_text(KEY)
        (folder / "site").mkdir()
        self.tls = certificate(folder, "IP:127.0.0.2")
        self.hive = Hive(self.model.url, HIVE_ANTHROPIC_API_KEY_FILE=str(folder / "key"), HIVE_MANAGER_PORT="")
        self.site, self.page = files(folder / "site", self.tls), Web(Page)
        away = type("Away", (Page,), {"away": f"http://127.0.0.1:{self.hive.port}/login"})
        self.away = Web(away)
        # As bad as a list can be: the operator wrote down every name there is for the pages of the hive.
        port = self.hive.port
        self.names = [
            f"127.0.0.1:{port}",
            f"[::1]:{port}",
            f"localhost:{port}",
            f"hive.localhost:{port}",
            f"0.0.0.0:{port}",
        ]
        self.names += [f"{socket.gethostname()}:{port}", f"2130706433:{port}", f"0x7f000001:{port}", f"127.1:{port}"]
        self.names += [f"[::ffff:127.0.0.1]:{port}"]
        self.listed = [*self.names, self.site.address, self.page.address, self.away.address]
        self.hive.start()
        self.hive.ask("spawn", name="scout", config={"egress": self.listed})
        self.hive.idle("scout")
        self.state = self.hive.state / "agents/scout/state"
        (self.state / "doors.py").write_text(Path(__file__).with_name("doors.py").read_text())
        (self.state / "cert.pem").write_text((folder / "cert.pem").read_text())

    def runs(self, command: str) -> str:
        """What scout's shell says to it."""
        self.hive.delivered(self.hive.ask("send", to="scout", body=f"please run: {command} #")["id"])
        return self.model.requests[-1].result

    def refusals(self) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.hive.events("scout") if event["kind"] == "egress"]

    def close(self) -> None:
        self.hive.close()
        self.model.stop()
        for web in (self.site, self.page, self.away):
            web.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


# ---- the key


LOOK = """
import os, pathlib
lines = open("/proc/net/dev").read().splitlines()[2:]
print(*[line.partition(":")[0].strip() for line in lines])
print(os.environ["ANTHROPIC_API_KEY"], [name for name in os.environ if "AUTH_" in name and "GIT" not in name])
places = [pathlib.Path(place) for place in ("/etc", "/state", "/root", "/workspace", "/var/lib/hive", "/tmp", "/run")]
files = [path for place in places for path in place.rglob("*") if path.is_file()]
files += [path for name in ("environ", "cmdline") for path in pathlib.Path("/proc").glob(f"[0-9]*/{name}")]
print(*[path for path in files if path.name == ".credentials.json"])
def has(path):
    try:
        return b"sk-ant-" + b"real" in path.read_bytes()
    except OSError:
        return False
print(*[path for path in files if has(path)])
print(len(files) > 20)
"""


def test_a_turn_works_with_no_network_no_key_and_no_credentials_inside(lab: Lab) -> None:
    (lab.state / "look.py").write_text(LOOK)
    assert lab.runs("python3 /state/look.py").split("\n") == ["lo", "held-by-the-host []", "", "", "True"]
    assert {request.headers["x-api-key"] for request in lab.model.requests} == {KEY}


def spread(lab: Lab, word: str) -> set[str]:
    """Where that word is: of all processes their arguments and environment, of the hive every file but the key's own."""
    found = set()
    for entry in Path("/proc").iterdir():
        for name in ("cmdline", "environ") if entry.name.isdigit() else ():
            try:
                if word.encode() in (entry / name).read_bytes():
                    found.add(name)
            except OSError:
                continue
    for place in (lab.hive.root, lab.hive.runtime):
        for path in place.rglob("*"):
            if path.is_file() and word.encode() in path.read_bytes():
                found.add(path.name.partition(".sqlite3")[0])
    return found


def test_the_key_is_in_no_process_file_log_event_or_row(lab: Lab) -> None:
    waits = "touch /state/up; while ! test -e /state/on; do sleep 0.1; done; echo on"
    sent = lab.hive.ask("send", to="scout", body=f"please run: {waits} #")["id"]
    until(lambda: (lab.state / "up").exists(), "a turn is under way")
    assert spread(lab, KEY) == set()
    # That it looks in the right places: what stands in the key's place inside, and what was said.
    assert "environ" in spread(lab, "held-by-the-host")
    assert {"cmdline", "hive"} <= spread(lab, "touch /state/up")
    (lab.state / "on").touch()
    lab.hive.delivered(sent)
    assert spread(lab, KEY) == set()


# ---- the hive's own pages


def doors(lab: Lab, *targets: str) -> list[list[str]]:
    return json.loads(lab.runs(f"python3 /state/doors.py {' '.join(map(shlex.quote, targets))}"))


def test_no_door_leads_to_the_pages_of_the_hive(lab: Lab) -> None:
    """Though the agent's list names them in every way there is."""
    answers = doors(lab, *lab.names)
    assert len(answers) == 7 * len(lab.names)
    assert [answer for answer in answers if answer[2]] == []
    assert any("a page of this hive" in why for *_, why in answers)


def test_the_same_doors_lead_to_what_is_listed_and_a_redirect_to_no_more_than_that(lab: Lab) -> None:
    got = {way for _, way, gained, _ in doors(lab, lab.page.address) if gained}
    assert got == {"bridge tunnel", "bridge absolute", "relay tunnel", "relay absolute"}
    assert "hive_session" not in str(lab.page.seen)
    follow = f"-sSL -w '%{{http_code}}' http://{lab.away.address}/"
    assert "Couldn't connect" in lab.runs(f"curl {follow}"), "127.0.0.1 is the container's own"
    assert lab.runs(f"curl --noproxy '' {follow}").endswith("403")


def test_without_walls_the_first_door_is_open(lab: Lab) -> None:
    script = [str(Path(__file__).with_name("doors.py")), f"127.0.0.1:{lab.hive.port}"]
    done = subprocess.run(["python3", *script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0][2].startswith("HTTP/1.0 200")


# ---- who hears of it


def test_a_refused_host_is_an_event_with_the_line_that_would_allow_it(lab: Lab) -> None:
    before = lab.hive.agent("scout")["egress"]
    doors(lab, "evil.example:443")
    refused = until(lambda: [one for one in lab.refusals() if one["target"] == "evil.example:443"], "the event")[0]
    assert refused["line"] == f"egress = {json.dumps([*lab.listed, 'evil.example'])}"
    shown = lab.hive.cli("events", "scout").stdout
    assert "evil.example:443 is not on the list" in shown
    after = lab.hive.agent("scout")["egress"]
    assert after["refused"] > before["refused"]
    assert after["hosts"]["model"] > before["hosts"]["model"]
    assert after["received"] > before["received"] > 0
    assert after["sent"] > before["sent"] > 0


# ---- tools


def test_git_and_pip_work_through_it_over_tls(lab: Lab) -> None:
    site = lab.folder / "site"
    work = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(lab.folder / "work")]
    subprocess.run(["git", "init", "-q", str(lab.folder / "work")], check=True)
    subprocess.run([*work, "commit", "-q", "--allow-empty", "-m", "hello from outside"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(lab.folder / "work"), str(site / "repo.git")], check=True)
    subprocess.run(["git", "-C", str(site / "repo.git"), "update-server-info"], check=True)
    wheel(site / "simple" / "greeting")
    url = f"https://{lab.site.address}"
    cloned = (
        f"git -c http.sslCAInfo=/state/cert.pem clone -q {url}/repo.git /tmp/repo && git -C /tmp/repo log --format=%s"
    )
    assert lab.runs(cloned) == "hello from outside"
    python = "$(ls /opt/hive/venv/bin/python /usr/bin/python3 2>/dev/null | head -n 1)"
    pip = f"{python} -m pip install -q --no-cache-dir --disable-pip-version-check --cert /state/cert.pem"
    installed = lab.runs(
        f"{pip} --index-url {url}/simple --target /tmp/pip greeting 2>&1; PYTHONPATH=/tmp/pip python3 -c 'import greeting'"
    )
    assert installed == "a greeting from outside"


def wheel(place: Path) -> None:
    """The smallest package there can be, as an index shows it."""
    place.mkdir(parents=True)
    info = "greeting-1.dist-info"
    parts = {
        "greeting.py": "print('a greeting from outside')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in parts.items()}
    rows = [f"{name},sha256={digest[name].decode().rstrip('=')},{len(text)}" for name, text in parts.items()]
    with zipfile.ZipFile(place / "greeting-1-py3-none-any.whl", "w") as archive:
        for name, text in (parts | {f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"])}).items():
            archive.writestr(name, text)


# ---- a claude that the agent starts by itself


def test_managed_settings_hold_for_a_claude_without_our_flags(lab: Lab) -> None:
    """What they can stop: hooks, foreign MCP servers, and permissions that nobody gave. Our flags are not there to help."""
    stopped = ("hooks of the project", "hooks of the project, local", "hooks of the user", "permissions", ".mcp.json")
    nest = lab.state / "nest"
    (nest / "workspace" / "marks").mkdir(parents=True)
    lay(nest, [FILES[name] for name in (*stopped, ".claude.json")], marks="/state/nest/workspace/marks", evil="")
    uid = (lab.state).stat().st_uid
    for path in [nest, *nest.rglob("*")]:
        os.chown(path, uid, uid)
    claude = "echo please work | CLAUDE_CONFIG_DIR=/state/nest/claude /opt/hive/claude --print --model sonnet 2>&1"
    said = lab.runs(f"(cd /state/nest/workspace; {claude}; ls marks); echo end")
    assert said.split("\n") == ["done", "end"]
    assert list((nest / "workspace" / "marks").iterdir()) == [], said
    plain = "cp /etc/claude-code/managed-settings.json /state/kept; echo x > /etc/claude-code/managed-settings.json; echo $?"
    assert lab.runs(f"{plain} 2>&1").split("\n")[-1] != "0"
    assert json.loads((lab.state / "kept").read_text())["allowManagedHooksOnly"] is True


# ---- the operator's cookie


@pytest.mark.browser
def test_a_link_of_an_agents_takes_no_cookie_to_it(lab: Lab) -> None:
    """Cookies do not know ports, so all depends on this: what an agent listens on is not there for the operator's browser."""
    port = free_port()
    serves = f"cd /tmp; (setsid timeout 60 python3 -u -m http.server --bind 0.0.0.0 {port} >/state/served 2>&1 &)"
    asks = f"until curl -s --noproxy '*' -o /dev/null http://127.0.0.1:{port}/inside; do sleep 0.1; done; cat /state/served"
    assert "/inside" in lab.runs(f"{serves}; {asks}")
    link = lab.hive.json("link")["url"]
    outside = Web(Page, "127.0.0.1")
    try:
        with open_browser() as browser:
            operator = browser.new_context()
            tab = operator.new_page()
            tab.goto(link)
            tab.wait_for_url(f"http://127.0.0.1:{lab.hive.port}/")
            for name in ("127.0.0.1", "localhost"):
                assert "ERR_CONNECTION_REFUSED" in followed(operator, f"http://{name}:{port}/steal")
            # Were it there, it would have the session: this is what makes the test one.
            assert followed(operator, f"http://{outside.address}/steal") == ""
            assert "hive_session" in outside.seen[0].get("cookie", "")
            assert followed(operator, f"http://localhost:{outside.address.partition(':')[2]}/steal") == ""
            by_another_name = [one for one in outside.seen if one["host"].startswith("localhost")]
            assert by_another_name
            assert not [one for one in by_another_name if "cookie" in one]
    finally:
        outside.close()
    assert "/steal" not in (lab.state / "served").read_text()


def followed(operator: Any, url: str) -> str:
    """What the browser says of it, in a tab of its own; '' when a page came."""
    tab = operator.new_page()
    try:
        tab.goto(url)
    except Exception as error:
        return str(error)
    finally:
        tab.close()
    return ""
