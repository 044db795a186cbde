"""Which host an agent may reach: its list by exact name and port, and no address that is not of the public Internet."""

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.conf import settings

AUTHORITY = re.compile(r"(?:([A-Za-z0-9._-]{1,253})|\[([0-9A-Fa-f:.]{2,45})\]):([0-9]{1,5})")
# Public by the register, but they carry an IPv4 address inside: NAT64, 6to4, Teredo, IPv4-translated.
CARRIERS = [
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0/96")
]


# Apart from the threads that do the hive's own work: a name server that does not answer holds one for half a minute.
RESOLVERS = ThreadPoolExecutor(32, "names")


class NotAllowed(Exception):
    """The agent may not do that; the text is a sentence. `entry` on its list would let it, '' where none would."""

    def __init__(self, why: str, entry: str = ""):
        super().__init__(why)
        self.entry = entry


def allowed(target: str, allow: frozenset[str]) -> tuple[str, int, bool]:
    """Host, port, and whether the list names it as an address; NotAllowed when the list does not name it."""
    found = AUTHORITY.fullmatch(target)
    if not found or not 0 < int(found[3]) < 65536:
        raise NotAllowed(f"CONNECT needs host:port, not {target[:100]!r}.")
    host, port = (found[1] or found[2]).lower().rstrip("."), int(found[3])
    written = f"[{host}]" if found[2] else host
    if f"{written}:{port}" not in allow and not (port == 443 and written in allow):
        entry = written if port == 443 else f"{written}:{port}"
        raise NotAllowed(f"{written}:{port} is not on the list of hosts that its configuration allows.", entry)
    return host, port, address(host) is not None


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def public(text: str) -> bool:
    """An address of the Internet at large: not this machine, its networks, its cloud's metadata or a multicast group."""
    ip = ipaddress.ip_address(text.split("%")[0])
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in CARRIERS if net.version == ip.version)


def own_page(writer: asyncio.StreamWriter) -> bool:
    """Whether it leads to a page of this hive, where the operator is signed in: no list opens these to an agent."""
    peer, here = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    return (peer[0] == here[0] or ipaddress.ip_address(peer[0].split("%")[0]).is_loopback) and peer[1] in own_ports()


def own_ports() -> set[int]:
    first, _, last = settings.HIVE_AGENT_PORTS.partition("-")
    some = {settings.HIVE_BIND.rpartition(":")[2], settings.HIVE_MANAGER_PORT}
    return {int(port) for port in some if port} | set(range(int(first or 0), int(last or -1) + 1))


async def resolve(host: str, port: int, literal: bool) -> list[str]:
    """The addresses to try. An address that the list names itself is the operator's word, whatever network it is in."""
    if literal:
        return [host]
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(RESOLVERS, look_up)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not all(public(each) for each in addresses):
        raise NotAllowed(f"{host} is at a private address; list that address itself if you mean it.")
    return addresses
