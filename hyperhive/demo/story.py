"""The demo's story: what the operator asks, and every line the model has to say to it.

Four turns of two agents: hm1nd asks for a scout; hears the yes and gives it work; the scout looks around, writes a note
and reports; hm1nd answers the operator. Three more of hm1nd's, for the scout's configuration: a change is committed and asked
for; hm1nd hears that it is applied and commits one with which no scout can work; and it hears that this one was taken back.
Nothing here happens by itself: each line is one answer of the model's API.
"""

from hyperhive.demo.rules import Block, Rule, Text, Think, Use

SCOUT = "scout"
NOTE = "machine.md"

# ---- what is said ----------------------------------------------------------------------------------------------------
ASK = (
    "What is it like to live here? Please have a scout look around inside a container of its own: the kernel, "
    "who it is in there, and what it can see. Then tell me in a few words."
)
WHY = "To look around in a container of its own and report: the operator wants to know what it is like to live here."
ASKED = "Gladly. I asked for an agent called scout; it waits for your yes. Once you approve, I send it off."
WORK = (
    "Welcome to the hive, scout. Please look around where you are: the kernel, who you are, what lies in /. "
    "Write it down in {note}, so that it outlives this turn, and report back to me."
)
PAGE = "# What it is like to live here\n\n- kernel: {kernel}\n- user: {user}\n- in /: {root}\n"
REPORT = (
    "I looked around. The kernel is {kernel}, I go by {user}, and what I see of the world is {root}. My note: {note}"
)
ANSWER = (
    "Your scout is back, and this is what it says: {found}. Its note is kept in {note}, even when its container goes."
)
SORRY = "There will be no scout this time: “{outcome}” Tell me if I should try another way."
CHANGE = (
    "Thank you! Please let scout read docs.example.org from now on. And then show me what becomes of a change with which "
    "it cannot work."
)
# Each line of agent.toml with the reason that it is committed with.
GOOD = "Let scout read docs.example.org", 'egress = ["docs.example.org"]'
BAD = "Try a setting under which no program starts", 'env = { LD_TRACE_LOADED_OBJECTS = "1" }'
PROPOSED = "I committed it to scout's configuration and asked for it. Now it waits for your yes."
CHANGED = "scout runs with it now: it may read docs.example.org. Now for the change that cannot work."
TAKEN_BACK = "The hive saw that it does not work and took it back by itself. In its words: “{outcome}”"
UNCHANGED = "Then scout stays as it is: “{outcome}”"
LOST = (
    "Thank you for writing! In this demo a script speaks for me and knows only the tour; `make run` is the real thing."
)

# ---- what it is understood by ----------------------------------------------------------------------------------------
WISH = "have a scout look around"
GREETING = "Welcome to the hive, scout"
YES = r"\(spawn scout\) was approved by .* and applied"
NO = r"(?P<outcome>Your request #\d+ \(spawn scout\) was [^\n]+)"
LET = "let scout read docs"
APPLIED = "and applied: scout runs with it"
BACK = "the configuration from before is back"
FAILED = rf"(?P<outcome>Your request #\d+ \(apply_commit scout\) was [^\n]+{BACK})"
REFUSED = r"(?P<outcome>Your request #\d+ \(apply_commit scout\) was [^\n]+)"
COMMITTED = r"(?P<sha>[0-9a-f]{40}) (?P<why>[^\n]+)"
COMMIT = "cd {config} && echo '{line}' >> agent.toml && git commit -qam '{why}' && git log -1 --format='%H %s'"
COMMAND = "uname -sr; id -un 2>/dev/null; echo /*"
SEEN = r"(?P<kernel>Linux \S+)\s+(?P<user>\S+)\s+(?P<root>/[^\n]+)"
READ = r"kernel: (?P<kernel>[^\n]+).*user: (?P<user>[^\n]+).*in /: (?P<root>[^\n]+)"
REPORTED = r"looked around\. (?P<found>.+)\. My note: (?P<note>\S+)"

REQUEST, APPLY, SEND = "mcp__hive__request_spawn", "mcp__hive__request_apply_commit", "mcp__hive__send"


def script(state: str = "/state", config: str = "/agents/scout/config", pace: float = 0.0) -> list[Rule]:
    """The story as rules. `state` is the scout's durable directory as it sees it, `config` its proposed repository as hm1nd
    sees it; `pace` slows it all down.
    """
    note = f"{state}/{NOTE}"
    rules = manager(note) + changes(config) + scout(note) + either()
    for rule in rules:
        rule.before, rule.pace = pace * 20, pace
    return rules


def manager(note: str) -> list[Rule]:
    """Only hm1nd is offered request_spawn, so that is how its lines are known."""
    wanting: list[Block] = [
        Think("For that I want a pair of eyes of its own."),
        Use(REQUEST, {"name": SCOUT, "why": WHY}),
    ]
    return [
        Rule(user=WISH, offers=REQUEST, reply=wanting),
        Rule(used=REQUEST, result="waits for the operator", reply=write("operator", ASKED)),
        Rule(user=YES, offers=REQUEST, reply=[Text("A yes. Off it goes."), write(SCOUT, WORK.replace("{note}", note))]),
        Rule(user=NO, offers=REQUEST, reply=[Text("No scout, then."), write("operator", SORRY)]),
        Rule(user=REPORTED, offers=REQUEST, reply=[Text("The scout has reported."), write("operator", ANSWER)]),
    ]


def changes(config: str) -> list[Rule]:
    """hm1nd's too. What it is told of a change that was taken back comes before what it is told of any other no."""
    asking = Use(APPLY, {"agent": SCOUT, "sha": "{sha}", "why": "{why}"})
    return [
        Rule(user=LET, offers=APPLY, reply=[Text("I change its agent.toml."), commit(config, *GOOD)]),
        Rule(used="Bash", offers=APPLY, result=COMMITTED, reply=asking),
        Rule(used=APPLY, result="waits for the operator", reply=write("operator", PROPOSED)),
        Rule(user=APPLIED, offers=APPLY, reply=[write("operator", CHANGED), commit(config, *BAD)]),
        Rule(user=FAILED, offers=APPLY, reply=[Text("It was taken back."), write("operator", TAKEN_BACK)]),
        Rule(user=REFUSED, offers=APPLY, reply=write("operator", UNCHANGED)),
    ]


def commit(config: str, why: str, line: str) -> Use:
    return Use("Bash", {"command": COMMIT.replace("{config}", config).replace("{line}", line).replace("{why}", why)})


def scout(note: str) -> list[Rule]:
    noting = Use("Write", {"file_path": note, "content": PAGE})
    report = write("hm1nd", REPORT.replace("{note}", note))
    return [
        Rule(user=GREETING, reply=[Text("I look around."), Use("Bash", {"command": COMMAND})]),
        Rule(used="Bash", result=SEEN, reply=[Text("I write it down."), noting]),
        Rule(used="Write", result="created", reply=[Text("I read it again."), Use("Bash", {"command": f"cat {note}"})]),
        Rule(used="Bash", result=READ, reply=[Text("The note stands. I report."), report]),
    ]


def either() -> list[Rule]:
    return [
        Rule(used=SEND, result="Sent", reply="Done. I rest until somebody writes to me."),
        Rule(user=".", offers=SEND, reply=write("operator", LOST)),
    ]


def write(to: str, body: str) -> Use:
    return Use(SEND, {"to": to, "body": body})
