"""Word outside, against a stand-in for the webhook and for ntfy: once per thing, never for long, never a way to decide."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.utils import timezone

from agents.models import Agent
from approvals.models import Approval
from broker.models import Mailbox, Message
from broker.wire import Refused
from dashboard import notices, waits
from dashboard.models import Mute, Notice

pytestmark = pytest.mark.django_db

HIDING = "look \u202egnp.exe\x1b[2J\nsecond line " + "long " * 150


class Outside:
    """Takes what is posted and answers as it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outside.taken.append((self.path, dict(self.headers), body))
                self.send_response(outside.status)
                if outside.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def texts(self) -> list[str]:
        return [json.loads(body)["text"] for path, _, body in self.taken if path == "/hook"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def outside(settings) -> Iterator[Outside]:
    outside = Outside()
    settings.HIVE_NOTIFY_URL = f"{outside.url}/hook"
    settings.HIVE_URL = "https://hive.example"
    yield outside
    outside.close()


def later(**time: float) -> None:
    """As if so much time had gone by."""
    for row in Notice.objects.all():
        row.next_at -= timedelta(**time)
        row.told_at = row.told_at and row.told_at - timedelta(**time)
        row.save()


def test_without_an_address_nothing_is_told(settings, approval) -> None:
    assert notices.targets() == []
    notices.tell()
    assert not Notice.objects.exists()


def test_a_request_is_told_once_with_a_link_to_look(outside, approval) -> None:
    notices.tell()
    notices.tell()
    [(_, headers, body)] = outside.taken
    said = json.loads(body)
    assert headers["Content-Type"] == "application/json"
    assert said["url"] == "https://hive.example/#approvals"
    assert said["text"] == f"#{approval.pk} Spawn sonar, asked by hm1nd: a second reader for the audio papers"
    assert [one["key"] for one in said["waits"]] == [f"approval-{approval.pk}"]
    assert "approve" not in said["url"] + json.dumps(said["waits"][0]["url"])


def test_ntfy_gets_text_a_link_and_its_token(outside, settings, approval, tmp_path) -> None:
    (tmp_path / "url").write_text(f"{outside.url}/hive-topic\n")
    (tmp_path / "token").write_text("tk_secret\n")
    settings.HIVE_NOTIFY_URL, settings.HIVE_NTFY_URL_FILE = "", str(tmp_path / "url")
    settings.HIVE_NTFY_TOKEN_FILE = str(tmp_path / "token")
    notices.tell()
    [(path, headers, body)] = outside.taken
    assert (path, headers["Authorization"]) == ("/hive-topic", "Bearer tk_secret")
    assert (headers["Title"], headers["Click"]) == ("hyperhive waits for you", "https://hive.example/#approvals")
    assert body.decode().startswith(f"#{approval.pk} Spawn sonar")


def test_each_place_is_told_for_itself(outside, settings, approval) -> None:
    settings.HIVE_NTFY_URL = "http://127.0.0.1:1/topic"
    notices.tell()
    assert len(outside.taken) == 1
    assert [(row["target"], row["attempt"]) for row in notices.failing()] == [("ntfy", 1)]


def test_what_agents_wrote_is_cleaned_and_cut(outside, manager) -> None:
    Approval.request_spawn("hm1nd", "sonar", HIDING)
    notices.tell()
    [text] = outside.texts()
    assert "\\u202egnp.exe\\x1b[2J second line" in text
    assert text.isprintable()
    assert len(text) <= waits.WORDS + 1


def test_letters_are_told_once_per_sender(outside, agent, manager) -> None:
    for number in range(30):
        Message.send("scout", "operator", f"letter {number}")
    notices.tell()
    assert outside.texts() == ["scout wrote to you (and 29 more): letter 0"]
    Message.send("scout", "operator", "one more")
    notices.tell()
    assert len(outside.taken) == 1
    Message.claim("operator", "turn-1", "turn-1", 60, most=100)
    Message.ack("operator", "turn-1")
    Message.send("scout", "operator", "another day")
    notices.tell()
    assert outside.texts()[1:] == ["scout wrote to you: another day"]


def test_an_agent_that_flaps_is_told_once_in_a_while(outside, agent) -> None:
    scout = Agent.objects.get(name="scout")
    for _ in range(3):
        scout.says("login", "Claude is not logged in.")
        notices.tell()
        scout.says("idle")
        notices.tell()
    assert outside.texts() == ["scout needs a login: Claude is not logged in."]
    later(hours=1)
    notices.tell()
    scout.says("login")
    notices.tell()
    assert len(outside.taken) == 2


def test_many_at_once_come_in_one_piece(outside, manager) -> None:
    for number in range(9):
        Approval.request_spawn("hm1nd", f"n{number}", "more hands")
    notices.tell()
    [(_, _, body)] = outside.taken
    said = json.loads(body)
    assert (said["title"], said["url"], len(said["waits"])) == ("hyperhive: 9 wait for you", "https://hive.example/", 9)
    assert said["text"].endswith("… and 6 more")
    notices.tell()
    assert len(outside.taken) == 1


def test_what_fails_is_tried_again_later_and_given_up_in_the_end(outside, approval) -> None:
    outside.status = 500
    pauses = []
    for attempt in range(1, notices.TRIES + 1):
        notices.tell()
        assert len(outside.taken) == attempt
        row = Notice.objects.get()
        pauses.append((row.next_at - timezone.now()).total_seconds())
        notices.tell()
        assert len(outside.taken) == attempt, "not before its time"
        later(seconds=notices.LONGEST + 1)
    assert pauses[0] < pauses[1] < pauses[4] <= notices.LONGEST
    notices.tell()
    assert len(outside.taken) == notices.TRIES
    assert notices.failing() == [{"target": "webhook", "error": "it answered HTTP 500", "attempt": notices.TRIES}]


def test_what_came_through_late_is_told_once(outside, approval) -> None:
    outside.status = 503
    notices.tell()
    outside.status = 204
    later(minutes=1)
    notices.tell()
    notices.tell()
    assert len(outside.taken) == 2
    assert notices.failing() == []


def test_what_was_decided_meanwhile_is_not_told(outside, approval) -> None:
    outside.status = 503
    notices.tell()
    approval.deny("operator", "a test")
    later(minutes=1)
    notices.tell()
    assert len(outside.taken) == 1
    assert not Notice.objects.exists()
    assert notices.failing() == []


def test_a_redirect_is_not_followed(outside, approval) -> None:
    outside.status = 302
    notices.tell()
    assert [path for path, _, _ in outside.taken] == ["/hook"]
    assert notices.failing()[0]["error"] == "it answered HTTP 302"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/s3cret", "ftp://x/s3cret", "file:///etc/s3cret", "http://[s3cret", "s3cret"]
)
def test_an_address_that_is_none_is_said_without_giving_it_away(settings, approval, url) -> None:
    settings.HIVE_NOTIFY_URL = url
    notices.tell()
    [failed] = notices.failing()
    assert failed["error"]
    assert "s3cret" not in failed["error"]


def test_a_secret_file_that_is_missing_is_a_failure_that_is_shown(settings, approval, operator) -> None:
    settings.HIVE_NOTIFY_URL_FILE = "/nonexistent/url"
    notices.tell()
    assert "No such file" in notices.failing()[0]["error"]
    assert operator.get("/waits").json()["outside"][0].startswith("word to webhook fails: ")


def test_a_mute_holds_back_and_what_still_waits_is_told_after_it(outside, operator, approval) -> None:
    assert operator.post("/mute", {"hours": "8"}).status_code == 302
    assert notices.tell() > 7 * 3600
    assert outside.taken == []
    assert Mute.objects.get().by == "operator"
    assert operator.get("/waits").json()["muted"] is True
    assert "muted until" in operator.get("/waits").json()["outside"][0]
    assert operator.post("/mute", {"hours": "0"}).status_code == 302
    notices.tell()
    assert len(outside.taken) == 1


@pytest.mark.parametrize("hours", ["", "-1", "1e9", "nan", "8; DROP"])
def test_other_lengths_of_a_mute_are_refused(operator, hours) -> None:
    assert operator.post("/mute", {"hours": hours}).status_code == 400
    assert not Mute.objects.exists()


def test_a_reminder_comes_only_if_it_is_wanted(outside, settings, approval) -> None:
    notices.tell()
    later(hours=5)
    notices.tell()
    assert len(outside.taken) == 1
    settings.HIVE_NOTIFY_REMIND_HOURS = 4.0
    notices.tell()
    notices.tell()
    assert len(outside.taken) == 2


def test_only_the_kinds_that_are_wanted_are_told(outside, settings, agent, approval) -> None:
    settings.HIVE_NOTIFY = ["letter"]
    Message.send("scout", "operator", "hello")
    notices.tell()
    assert outside.texts() == ["scout wrote to you: hello"]


def test_a_trial_reaches_every_place_and_says_how_it_went(outside, settings) -> None:
    settings.HIVE_NTFY_URL = f"{outside.url}/topic"
    assert [one["error"] for one in notices.test("operator")] == ["", ""]
    assert [path for path, _, _ in outside.taken] == ["/hook", "/topic"]
    outside.status = 403
    assert [one["error"] for one in notices.test("operator")] == ["it answered HTTP 403"] * 2
    settings.HIVE_NOTIFY_URL = settings.HIVE_NTFY_URL = ""
    with pytest.raises(Refused, match="set HIVE_NOTIFY_URL or HIVE_NTFY_URL"):
        notices.test("operator")


def test_the_pages_hear_of_what_waits(operator, agent, approval) -> None:
    Mailbox.objects.get_or_create(name="hive", defaults={"role": "hive", "open": False})
    said = operator.get("/waits").json()
    assert (said["pending"], said["icon"], said["muted"]) == (1, "waits", False)
    assert [one["url"] for one in said["waits"]] == ["/#approvals"]
    Agent.objects.get(name="scout").says("failing", "it crashed")
    said = operator.get("/waits").json()
    assert said["icon"] == "failing"
    approval.deny("operator", "a test")
    Agent.objects.get(name="scout").says("idle")
    assert operator.get("/waits").json() == {"pending": 0, "icon": "idle", "muted": False, "outside": [], "waits": []}
