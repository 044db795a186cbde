"""The two repositories of an agent: the proposed one, which the manager edits, and the applied one, which is the host's.

The host reads the first through lifecycle/intake.py alone, and nobody but the host ever sees the second.
"""

from .applied import Applied
from .difference import diff
from .intake import fetch
from .objects import BadCommit, Blob
from .seed import seed, sweep

__all__ = ["Applied", "BadCommit", "Blob", "diff", "fetch", "seed", "sweep"]
