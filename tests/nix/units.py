"""A service as `nix/checks/eval.nix` shows it, written as systemd reads it."""

import json
from typing import Any


def text(unit: dict[str, Any], exec_start: str) -> str:
    lines = ["[Unit]", f"Description={unit['description']}", f"After={' '.join(unit['after'])}", "[Service]"]
    lines += [f"Environment={json.dumps(f'{name}={value}')}" for name, value in unit["environment"].items()]
    for name, value in (unit["serviceConfig"] | {"ExecStart": exec_start}).items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{name}={str(one).lower() if isinstance(one, bool) else one}")
    return "\n".join(lines) + "\n"
