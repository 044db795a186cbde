"""What a request's body may be, before anybody has asked who sends it: Daphne alone spools 286 MiB of it to a temporary file."""

from typing import Any

import daphne.server
from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings

# What Django takes is less: it says so in words, to whoever is only a little over.
SLACK = 64 * 1024
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class LimitedRequest(WebRequest):
    """Refuses a length that is too large when it is announced, and a body that turns out so when it does."""

    refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        self.took = 0
        if (length or 0) > most():
            self.refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self.took += len(data)
        if self.took > most():
            self.refuse()
        if not self.refused:
            super().handleContentChunk(data)

    def refuse(self) -> None:
        if not self.refused:
            self.refused = True
            self.channel.transport.write(TOO_LARGE)
            self.channel.loseConnection()

    def requestReceived(self, *words: Any) -> None:
        if not self.refused:
            super().requestReceived(*words)


def most() -> int:
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE + SLACK


class LimitedFactory(HTTPFactory):
    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = LimitedRequest
        return protocol


def limit_bodies() -> None:
    """The server makes its factory itself, of the class that it knows by this name."""
    daphne.server.HTTPFactory = LimitedFactory
