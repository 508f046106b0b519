"""The static NAT of another tool, byte for byte: tcpreplay turned 96.17.211.0/24 into 172.16.0.0/24 in one of its captures.

tcpreplay turns it wherever it stands; a gateway turns it the one way in packets that come in, and the other way in those that go out.
So packets to these addresses go through a gateway behind which 172.16.0.0/24 lies and is 96.17.211.0/24 outside, and packets from them through
one where it is the other way round. Each packet is held against tcpreplay's from the IP header on, with the time to live that is one
less, and the header's checksum that follows from it. Ethernet's addresses are the gateway's. Each packet has a gateway of its
own, since none would see both directions of a connection.
"""

import os
from pathlib import Path

from gateway import *
from scapy.utils import rdpcap

BEFORE, AFTER = "96.17.211.", "172.16.0."


def captures():
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("REWIRE_DATA", default)) / "captures" / "tcpreplay"


def translated(frame):
    """Whether tcpreplay has changed a frame of its capture."""
    return IP in frame and frame[Ether].type == 0x0800 and BEFORE in f"{frame[IP].src} {frame[IP].dst}"


def behind(gw, internal, external):
    """A gateway with these addresses behind it, which are others outside; all others are outside, too."""
    nat = gw.document["nat"]
    nat.clear()
    nat["static"] = {
        f"host{number}": {
            "external_vpc": "internet",
            "external_address": f"{external}{number}",
            "internal_vpc": "blue",
            "internal_address": f"{internal}{number}",
        }
        for number in range(1, 255)
    }
    routes = gw.document["vpcs"]["blue"]["routes"]
    routes[f"{internal}0/24"] = {"next_hops": [{"interface": "blue0", "via": HOST}]}
    outside = {"next_hops": [{"interface": "wan", "via": ROUTER}]}
    gw.document["vpcs"]["internet"]["routes"]["0.0.0.0/0"] = outside
    for interface in ("blue0", "wan"):
        gw.document["interfaces"][interface]["mtu"] = 9000
    gw.start()


def opening(gateway, way, packet, translated):
    """Before a SYN-ACK, which begins no connection, the SYN that it answers."""
    if TCP in packet and packet[TCP].flags == "SA":
        source, destination = endpoints(translated)
        gateway.through(way[1], tcp(destination, source, "S", packet[TCP].ack - 1), way[0])


def test_packets_are_translated_to_the_byte(gw):
    folder = captures()
    if not folder.exists():
        print(f"skipped: no captures at {folder} (set REWIRE_DATA)")
        return
    before = rdpcap(str(folder / "test.pcap"))
    after = rdpcap(str(folder / "test.rewrite_pnat.pcap"))
    assert len(before) == len(after)
    pairs = [(one, other) for one, other in zip(before, after) if translated(one)]
    assert len(pairs) > 20, len(pairs)
    inward = [pair for pair in pairs if pair[0][IP].dst.startswith(BEFORE)]
    outward = [pair for pair in pairs if pair[0][IP].src.startswith(BEFORE)]
    assert inward and outward
    for internal, external, way, pairs in [
        (AFTER, BEFORE, ("wan", "blue0"), inward),
        (BEFORE, AFTER, ("blue0", "wan"), outward),
    ]:
        for frame, expected in pairs:
            gateway = Gateway(gw.line, gw.document)
            behind(gateway, internal, external)
            expected = IP(bytes(expected[IP])[: expected[IP].len])
            expected.ttl -= 1
            del expected.chksum
            opening(gateway, way, frame[IP], expected)
            out = gateway.through(way[0], IP(bytes(frame[IP])[: frame[IP].len]), way[1])
            assert_same(out, expected)
    print(f"{len(inward)} packets to hosts behind the gateway, {len(outward)} from them")
