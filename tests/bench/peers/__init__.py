"""What the hive's mailboxes are measured against, each set to the same durability: on disk before a send is answered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .files import Files
from .hive import Hive, Wire
from .mcp_http import McpHttp
from .nats import Nats
from .postgres import Postgres
from .rabbit import Rabbit
from .redis import Redis


class Peer(NamedTuple):
    label: str
    start: Callable[[Path, list[str]], Any]
    program: str  # '' where nothing has to be installed
    # What the hive is to be times as fast as, in pairs and in reply.
    target: tuple[float, float] | None
    version: tuple[str, ...] = ()


PEERS = {
    "hive": Peer("hyperhive", Hive, "", None),
    "wire": Peer("its wire alone, in memory", Wire, "", None),
    "redis": Peer(
        "Redis Streams, appendfsync always", Redis, "redis-server", (1.0, 1.5), ("redis-server", "--version")
    ),
    "nats": Peer("NATS JetStream", Nats, "nats-server", (3.0, 3.0), ("nats-server", "--version")),
    "rabbitmq": Peer(
        "RabbitMQ, durable and confirmed", Rabbit, "rabbitmq-server", (3.0, 3.0), ("rabbitmqctl", "version")
    ),
    "postgres": Peer("PostgreSQL, NOTIFY and SKIP LOCKED", Postgres, "initdb", (8.0, 8.0), ("initdb", "--version")),
    "files": Peer("JSON files with a lock", Files, "", None),
    "mcp": Peer("MCP over HTTP", McpHttp, "", (40.0, 40.0)),
}
