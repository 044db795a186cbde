"""Which Claude Code CLI we drive: the one place that names its versions."""

# Driven in every test; `bin/setup` installs it, `hive serve` says when another one is found.
WANTED = "2.1.330"
# The oldest whose events and flags are known to work: older ones are refused.
FLOOR = "2.1.143"


def parse(version: str) -> tuple[int, ...]:
    """'2.1.330 (Claude Code)' -> (2, 1, 330); ValueError when it is no version."""
    return tuple(int(part) for part in version.split()[0].split("."))
