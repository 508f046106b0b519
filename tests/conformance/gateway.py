"""The gateway as the cases see it: frames in, frames out, a clock that stands still until it is told to go.

Every packet that comes out is checked as a whole: scapy computes its lengths and checksums anew, and they must be the same.
"""

import copy
import json
import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror, fragment  # noqa: E402
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402
from scapy.utils import checksum  # noqa: E402

# Who is who; see `two_vpcs` in dataplane/tests/support/mod.rs.
HOST, HOST2, RED = "10.1.0.10", "10.1.0.11", "10.2.0.10"
WAN, ROUTER = "203.0.113.1", "203.0.113.2"
SITE, SITE2 = "198.51.100.1", "198.51.100.2"
# Translated to MAIL_OUTSIDE, whole.
MAIL, MAIL_OUTSIDE = "10.1.0.20", "203.0.113.9"
MACS = {"blue0": "02:00:00:00:00:01", "red0": "02:00:00:00:00:02", "wan": "02:00:00:00:00:03"}
HOST_MAC = "02:00:00:00:07:07"


class Line:
    """Messages of one line of JSON each."""

    def __init__(self, incoming, outgoing):
        self.incoming, self.outgoing = incoming, outgoing

    def read(self):
        line = self.incoming.readline()
        if not line:
            raise EOFError("the gateway is gone")
        return json.loads(line)

    def write(self, message):
        self.outgoing.write(json.dumps(message) + "\n")
        self.outgoing.flush()

    def ask(self, **message):
        self.write(message)
        return self.read()


class Gateway:
    """A gateway with the document of the other tests, which a case may change before its first packet."""

    def __init__(self, line, document):
        self.line = line
        self.document = copy.deepcopy(document)
        self.started = False

    def start(self):
        if not self.started:
            self.line.ask(do="start", document=self.document)
            self.started = True

    def commit(self):
        """Makes the document, as it is now, the next revision."""
        self.start()
        self.line.ask(do="commit", document=self.document)

    def send(self, *packets):
        """Sends a burst of (interface, packet); what comes out, as a list of (interface, packet).

        Questions of ARP and of neighbor discovery are answered: whoever is asked for is there.
        """
        self.start()
        frames = []
        for interface, packet in packets:
            if Ether not in packet:
                packet = Ether(src=HOST_MAC, dst=MACS[interface]) / packet
            frames.append([interface, bytes(packet).hex()])
        return self._collect(self.line.ask(do="send", frames=frames))

    def wait(self, seconds):
        """Lets time pass, and timers run; what comes out meanwhile."""
        self.start()
        return self._collect(self.line.ask(do="wait", seconds=seconds))

    def _collect(self, sent):
        out = []
        while sent:
            answers = []
            for interface, frame in sent:
                frame = Ether(bytes.fromhex(frame))
                if ICMPv6ND_NS in frame:
                    answers.append([interface, bytes(advertisement(frame)).hex()])
                elif ARP in frame:
                    question = frame[ARP]
                    answer = ARP(op=2, hwsrc=HOST_MAC, psrc=question.pdst, hwdst=question.hwsrc, pdst=question.psrc)
                    reply = Ether(src=HOST_MAC, dst=question.hwsrc) / answer
                    answers.append([interface, bytes(reply).hex()])
                else:
                    check(frame)
                    out.append((interface, frame.payload))
            sent = self.line.ask(do="send", frames=answers) if answers else []
        return out

    def through(self, interface, packet, to):
        """Sends one packet, which comes out as one by interface `to`."""
        out = self.send((interface, packet))
        assert len(out) == 1, f"one packet out: {describe(out)}; drops {self.drops()}"
        assert out[0][0] == to, f"by {to}: {describe(out)}"
        return out[0][1]

    def silent(self, interface, packet, reason=None):
        """Sends one packet, which is dropped, for this reason, and nothing is said."""
        before = self.drops().get(reason, 0)
        out = self.send((interface, packet))
        assert not out, f"nothing comes out: {describe(out)}"
        if reason:
            assert self.drops().get(reason, 0) == before + 1, f"dropped as {reason}: {self.drops()}"

    def drops(self):
        """The packets dropped so far, by reason."""
        self.start()
        return self.line.ask(do="drops")


def pool(gateway):
    """Masquerades blue behind eight addresses."""
    nat = gateway.document["nat"]
    nat["pools"] = {"outside": {"vpc": "internet", "ranges": ["203.0.113.16-203.0.113.23"]}}
    nat["masquerade"]["blue-out"].update(pool="outside", sources=["10.1.0.0/24"])


def describe(out):
    return [f"{interface}: {packet.summary()}" for interface, packet in out] or "nothing"


def check(frame):
    """Lengths and checksums of a frame are what scapy makes of it."""
    ip = frame.payload
    if isinstance(ip, IPv6):
        assert_same(ip, rebuilt6(ip))
        return
    assert_same(ip, rebuilt(ip))
    inner = ip.getlayer(IPerror)
    if inner is not None:
        # Of a quote, the header's checksum alone: the rest may be cut off.
        assert_same(bytes(inner)[: inner.ihl * 4], bytes(rebuilt_header(inner))[: inner.ihl * 4])


def rebuilt(ip):
    again = ip.copy()
    del again.chksum
    if ip.flags.MF or ip.frag:
        return again
    if ICMP in again:
        # Scapy leaves the extensions of RFC 4884 out of what it computes.
        assert checksum(bytes(ip.payload)) == 0, f"the ICMP checksum of {bytes(ip).hex()}"
    elif TCP in again:
        del again[TCP].chksum
    # A UDP checksum of 0 says that there is none (RFC 768), and stays so.
    elif UDP in again and again[UDP].chksum != 0:
        del again[UDP].chksum
    return again


def rebuilt6(ip):
    again = ip.copy()
    del again.plen
    message = again.payload
    if "cksum" in message.fields:
        del message.cksum
    elif "chksum" in message.fields:
        del message.chksum
    return again


def advertisement(question):
    """The answer to a neighbor solicitation."""
    target = question[ICMPv6ND_NS].tgt
    header = IPv6(src=target, dst=question[IPv6].src, hlim=255)
    answer = ICMPv6ND_NA(tgt=target, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=HOST_MAC)
    return Ether(src=HOST_MAC, dst=question.src) / header / answer


def rebuilt_header(ip):
    header = IP(bytes(ip)[: ip.ihl * 4])
    header.remove_payload()
    del header.chksum
    return header


def assert_same(one, other):
    one, other = bytes(one), bytes(other)
    assert one == other, f"\n  sent     {one.hex()}\n  expected {other.hex()}"


def endpoints(packet):
    """((source, port), (destination, port)) of a packet of TCP or UDP; None of any other."""
    l4 = packet.getlayer(TCP) or packet.getlayer(UDP)
    return l4 and ((packet.src, l4.sport), (packet.dst, l4.dport))


def udp(source, destination, data=b"data", **fields):
    return IP(src=source[0], dst=destination[0], **fields) / UDP(sport=source[1], dport=destination[1]) / Raw(data)


def tcp(source, destination, flags, seq=0, ack=0, data=b"", **fields):
    header = TCP(sport=source[1], dport=destination[1], flags=flags, seq=seq, ack=ack)
    packet = IP(src=source[0], dst=destination[0], **fields) / header
    return packet / Raw(data) if data else packet


def echo(source, destination, identifier, data=b"ping", **fields):
    return IP(src=source, dst=destination, **fields) / ICMP(type=8, id=identifier, seq=1) / Raw(data)


def echo_reply(source, destination, identifier, data=b"ping", **fields):
    return IP(src=source, dst=destination, **fields) / ICMP(type=0, id=identifier, seq=1) / Raw(data)


def error(source, about, icmp_type=3, code=3, length=28, **fields):
    """An ICMP error of `source` to the sender of a packet, that quotes its first bytes."""
    quote = bytes(about[IP])[:length]
    return IP(src=source, dst=about[IP].src) / ICMP(type=icmp_type, code=code, **fields) / Raw(quote)


def fragments(packet, size=512):
    """The fragments of a packet, with at most so many bytes each behind the header, and where they come in."""
    interface = "blue0" if packet.src.startswith("10.") else "wan"
    return [(interface, part) for part in fragment(packet, size)]


def reassembled(parts):
    """The packet of which these are the fragments, in any order; there are no more and no fewer, and its checksum is right."""
    parts = sorted(parts, key=lambda packet: packet.frag)
    body = b""
    for packet in parts:
        assert packet.frag * 8 == len(body), "a hole or an overlap"
        body += bytes(packet.payload)
    assert [bool(packet.flags.MF) for packet in parts] == [True] * (len(parts) - 1) + [False]
    header = IP(bytes(parts[0])[: parts[0].ihl * 4])
    header.flags, header.frag = 0, 0
    del header.len, header.chksum
    whole = IP(bytes(header / Raw(body)))
    assert_same(whole, rebuilt(whole))
    return whole
