"""A result that comes later, told to whoever asked in the same turn of the loop in which it comes. It knows no Django."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any


class Later:
    """As much of `asyncio.Future` as the hot path needs, whose callbacks are called at once, in their order.

    A future's callbacks each take a turn of the loop: of a message's time, a good part would go by between them.
    """

    __slots__ = ("_callbacks", "_failure", "_loop", "_result", "_state")

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._state = "pending"
        self._result: Any = None
        self._failure: BaseException | None = None
        self._callbacks: tuple[Callable[[Any], object], ...] = ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def done(self) -> bool:
        return self._state != "pending"

    def cancelled(self) -> bool:
        return self._state == "cancelled"

    def result(self) -> Any:
        if self._failure is not None:
            raise self._failure
        return self._result

    def exception(self) -> BaseException | None:
        return self._failure

    def set_result(self, result: Any) -> None:
        self._result = result
        self._finish("finished")

    def set_exception(self, failure: BaseException) -> None:
        self._failure = failure
        self._finish("finished")

    def cancel(self) -> bool:
        """What it would have told is not undone: only nobody hears of it."""
        if self.done():
            return False
        self._failure = asyncio.CancelledError()
        self._finish("cancelled")
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        if self.done():
            self._tell(callback)
        else:
            self._callbacks += (callback,)

    def _finish(self, state: str) -> None:
        assert not self.done()
        self._state = state
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            self._tell(callback)

    def _tell(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except Exception as error:  # as the loop does: one that fails keeps nobody else from hearing
            self._loop.call_exception_handler({"message": f"{callback} failed", "exception": error})

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            told = asyncio.Event()
            self.add_done_callback(lambda _: told.set())
            try:
                yield from told.wait().__await__()
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()
