"""What claude starts as its MCP server: a pipe between its own stdio and the relay's socket, run with `python -I -S`.

It imports only what the interpreter has built in, so that it is there 15 ms after claude asked for it.
"""

import _socket
import _thread
import os
import sys


def copy(source: int, sink: int) -> None:
    while data := os.read(source, 65536):
        view = memoryview(data)
        while view:
            view = view[os.write(sink, view) :]


def answers(relay: int) -> None:
    try:
        copy(relay, 1)
    finally:
        # Either side's end is the end: claude sees it as a server that exited.
        os._exit(0)


def main() -> None:
    relay = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    relay.connect(sys.argv[1])
    _thread.start_new_thread(answers, (relay.fileno(),))
    copy(0, relay.fileno())


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        os.write(2, f"shim: {error}\n".encode())
    finally:
        os._exit(0)
