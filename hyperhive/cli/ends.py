"""How a command ends: the exit codes, and which refusal of the host is which."""

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, REFUSED, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

# The kind of a refusal (broker.wire.CODES) -> exit code; what is not named here is FAILED.
KINDS = {
    "bad_params": USAGE,
    "not_found": NOT_FOUND,
    "refused": REFUSED,
    "conflict": REFUSED,
    "busy": REFUSED,
    "timed_out": TIMED_OUT,
}


class End(Exception):
    """The command ends here, with an exit code and a sentence for stderr."""

    def __init__(self, code: int, sentence: str = ""):
        super().__init__(sentence)
        self.code = code
