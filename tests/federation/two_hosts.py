"""A coordinator and two sites on two hosts that have one cable between them and no way elsewhere.

The hosts are network namespaces, the cable a pair of virtual interfaces, on which every frame is looked at.
It is a program, begun by `unshare --user --map-root-user --net`, which some systems allow without privilege.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from federation.deployed import Federation

COORDINATOR, SITE = "10.77.0.1", "10.77.0.2"


class Cable:
    """Notes who opened a connection to whom, and every frame that belongs to none."""

    def __init__(self, interface: str) -> None:
        self.opened: set[tuple[str, str, int]] = set()
        self.others: set[str] = set()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((interface, 0))
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                frame = self._socket.recv(65535)
            except OSError:  # said once of an interface that was down
                continue
            kind = struct.unpack("!H", frame[12:14])[0]
            if kind == 0x0806 or (kind == 0x86DD and frame[20] in (0, 58)):  # the systems find each other
                continue
            if kind != 0x0800 or frame[23] != 6:
                self.others.add(f"ethernet {kind:04x} protocol {frame[23] if kind == 0x0800 else '-'}")
                continue
            tcp = 14 + 4 * (frame[14] & 15)
            if frame[tcp + 13] & 0x12 == 0x02:  # SYN without ACK
                ends = [socket.inet_ntoa(frame[k : k + 4]) for k in (26, 30)]
                self.opened.add((ends[0], ends[1], struct.unpack("!H", frame[tcp + 2 : tcp + 4])[0]))


def _ip(*words: str, inside: int = 0) -> None:
    enter = ["nsenter", "--target", str(inside), "--net"] if inside else []
    subprocess.run([*enter, "ip", *words], check=True)


def main(place: Path) -> None:
    with contextlib.ExitStack() as stack:
        other = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        stack.callback(other.kill)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
        while Path(f"/proc/{other.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            pass  # until it is in its own
        _ip("link", "set", "cable1", "netns", str(other.pid))
        _ip("address", "add", f"{COORDINATOR}/24", "dev", "cable0")
        _ip("address", "add", f"{SITE}/24", "dev", "cable1", inside=other.pid)
        cable = Cable("cable0")
        _ip("link", "set", "cable0", "up")
        _ip("link", "set", "cable1", "up", inside=other.pid)
        enter = ("nsenter", "--target", str(other.pid), "--net")
        federation = Federation(place, sites=2, rounds={"rounds": 2}, host=COORDINATOR, enter=enter)
        stack.callback(federation.end)
        federation.begin_all()
        federation.order()
        federation.until(federation.finished)
        found = {"opened": sorted(cable.opened), "others": sorted(cable.others), "port": federation.port}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
