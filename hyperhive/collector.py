"""Python's collector of cycles, told what need not be looked through again and again."""

import gc

# Objects that may come before the youngest are looked through; Python's own figure is 700.
NURSERY = 10_000


def settle() -> None:
    """Once everything is imported: a third of the time that a message costs went into looking through what never goes.

    What comes later is collected as ever, though not every time that a batch of messages has filled the nursery.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NURSERY)
