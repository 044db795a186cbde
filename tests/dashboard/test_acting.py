"""What is done to agents: asked first, done to one or to many, each with its own result; panic and the way out of it."""

import re

import pytest

from agents.models import Agent
from broker.models import Lease, Mailbox, Message
from lifecycle import holdings, paths
from lifecycle.models import Container

from .conftest import container

pytestmark = pytest.mark.django_db
HX = {"HTTP_HX_REQUEST": "true"}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "rebuild", "kill", "pause", "resume", "destroy"])
def test_what_is_asked_says_what_stays_and_the_command_that_does_the_same(operator, agent, verb):
    page = operator.get(f"/ask/scout/{verb}").content.decode()
    assert "This stays" in page
    assert f"$ hive {verb} scout" in page
    dialog = operator.get(f"/ask/scout/{verb}", **HX).content.decode()
    assert "<html" not in dialog
    assert f'action="/containers/scout/{verb}"' in dialog
    agent.refresh_from_db()
    assert (agent.op, agent.paused) == ("", False)


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/ask/nobody/stop", 404, "No agent is called"),
        ("/ask/scout/explode", 404, "There is no verb"),
        ("/ask/many?verb=destroy&agent=scout", 404, "There is no verb"),
        ("/ask/many?verb=stop", 400, "Mark the agents first"),
        ("/ask/many?verb=stop&agent=nobody", 404, "No agent is called"),
    ],
)
def test_what_cannot_be_asked(operator, agent, address, status, words):
    for headers in ({}, HX):
        response = operator.get(address, **headers)
        assert (response.status_code, words in response.content.decode()) == (status, True)


def test_destroying_takes_the_name_and_purging_a_tick_of_its_own(operator, agent):
    state = paths.state_dir("scout")
    state.mkdir(parents=True)
    (state / "notes.md").write_text("x" * 2048)
    assert re.search(
        r"its notes \(/state\): 1 file, 2\.0\sKB, last write", operator.get("/ask/scout/destroy").content.decode()
    )
    for typed in ("", "scou", "hm1nd"):
        assert operator.post("/containers/scout/destroy", {"typed": typed}).status_code == 400
    agent.refresh_from_db()
    assert agent.op == ""
    operator.post("/containers/scout/destroy", {"typed": "scout"})
    agent.refresh_from_db()
    assert agent.op == "destroy"
    operator.post("/containers/scout/destroy", {"typed": "scout", "purge": "yes"})
    agent.refresh_from_db()
    assert agent.op == "purge"


def test_the_manager_is_not_destroyed(operator, manager):
    assert "destroy" not in operator.get("/").content.decode()
    assert operator.post("/containers/hm1nd/destroy", {"typed": "hm1nd"}).status_code == 409


def test_an_agents_files_are_counted_and_never_followed(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/notes").write_text("12345")
    (tmp_path / "out").symlink_to("/usr")
    (tmp_path / "round").symlink_to(tmp_path)
    found = holdings.counted("all", tmp_path)
    assert (found.files, found.more) == (5, False)
    assert holdings.counted("none", tmp_path / "nowhere").files == 0


def test_many_at_once_and_each_has_its_own_result(operator, agent):
    container("forge")
    container("sonar", desired="destroyed", status="destroyed")
    page = operator.get("/ask/many?verb=stop&agent=scout&agent=forge").content.decode()
    assert "stop 2 agents?" in page
    assert "$ hive stop forge" in page
    marked = {"verb": "stop", "agent": ["scout", "sonar", "nobody", "forge", "scout"]}
    html = operator.post("/containers/act", marked, **HX).content.decode()
    lines = re.search(r"<span>(.*?)</span>", html, re.DOTALL)[1].split("\n")
    assert [line.split(":")[0] for line in lines] == ["scout", "sonar", "nobody", "forge"]
    assert ["refused" in line for line in lines] == [False, True, True, False]
    assert dict(Container.objects.values_list("name", "op")) == {"scout": "stop", "forge": "stop", "sonar": ""}
    assert operator.post("/containers/act", {"verb": "destroy", "agent": "scout"}).status_code == 404


def test_spawning_with_a_configuration(operator, monkeypatch):
    monkeypatch.setattr(Container, "_best_driver", lambda: "process")
    response = operator.post("/containers", {"name": "sonar", "config": 'modle = "opus"'}, **HX)
    assert (response.status_code, "Did you mean" in response.content.decode()) == (400, True)
    operator.post("/containers", {"name": "sonar", "config": 'model = "opus"\r\nprompt = "You read."\r\n'})
    assert Container.objects.get().config == {"model": "opus", "prompt": "You read."}


def test_panic_ends_every_turn_and_keeps_every_message(operator, agent, manager):
    Container.objects.filter(pk="scout").update(paused=True)
    container("forge")
    Message.send("operator", "forge", "work")
    Message.claim("forge", "turn-1", "turn-1", 60)
    assert "all is paused" not in operator.get("/").content.decode()
    assert "1 turns end now, 2 agents are paused" in operator.post("/panic", **HX).content.decode()
    assert Agent.objects.get(pk="forge").interrupt == "turn-1"
    assert Message.objects.get().state == "claimed"
    assert Lease.objects.count() == 1
    html = operator.get("/").content.decode()
    since = re.search(r'name="since" value="([^"]+)"', html)[1]
    assert operator.post("/panic/over", {"since": "never"}).status_code == 400
    operator.post("/panic/over", {"since": since})
    assert sorted(Container.objects.filter(paused=True).values_list("name", flat=True)) == ["scout"]
    assert "all is paused" not in operator.get("/").content.decode()


def test_a_message_to_everyone(operator, agent, manager):
    Mailbox.objects.create(name="hive", role="hive")
    Mailbox.objects.create(name="gone", open=False)
    html = operator.post("/messages", {"to": "*", "body": "stand by"}, **HX).content.decode()
    assert "waits for hm1nd.\nMessage" in html
    assert sorted(Message.objects.values_list("recipient", flat=True)) == ["hm1nd", "scout"]
    assert operator.post("/messages", {"to": "*", "body": " "}, **HX).status_code == 400
