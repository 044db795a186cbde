"""The demo's story: what the operator asks, and every line the model has to say to it.

Four turns of two agents: hm1nd asks for a scout; hears the yes and gives it work; the scout looks around, writes a note
and reports; hm1nd answers the operator. Nothing here happens by itself: each line is one answer of the model's API.
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
LOST = (
    "Thank you for writing! In this demo a script speaks for me and knows only the tour; `make run` is the real thing."
)

# ---- what it is understood by ----------------------------------------------------------------------------------------
WISH = "have a scout look around"
GREETING = "Welcome to the hive, scout"
YES = r"\(spawn scout\) was approved by .* and applied"
NO = r"(?P<outcome>Your request #\d+ \(spawn scout\) was [^\n]+)"
COMMAND = "uname -sr; id -un 2>/dev/null; echo /*"
SEEN = r"(?P<kernel>Linux \S+)\s+(?P<user>\S+)\s+(?P<root>/[^\n]+)"
READ = r"kernel: (?P<kernel>[^\n]+).*user: (?P<user>[^\n]+).*in /: (?P<root>[^\n]+)"
REPORTED = r"looked around\. (?P<found>.+)\. My note: (?P<note>\S+)"

REQUEST, SEND = "mcp__hive__request_spawn", "mcp__hive__send"


def script(state: str = "/state", pace: float = 0.0) -> list[Rule]:
    """The story as rules. `state` is the scout's durable directory as it sees it; `pace` slows it all down."""
    note = f"{state}/{NOTE}"
    rules = manager(note) + scout(note) + either()
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
