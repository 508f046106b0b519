"""ICMP errors about packets of each kind of NAT, either way: where they go, and what they quote; all checksums right.

Masquerades and basic NAT of IPv4 are in rfc5508.
"""

from gateway import *
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPerror6, IPv6,
)

HOST6, SITE6, ROUTER6, WAN6 = "fd00:1::10", "2001:db8:51::1", "2001:db8:f::2", "2001:db8:f::1"
SERVER6, SERVER6_OUTSIDE = "fd00:1::20", "2001:db8:f::9"


def test_about_what_a_port_forward_leads_in(gw):
    client, server = (SITE, 999), (HOST, 80)
    into = gw.through("wan", tcp(client, (WAN, 8080), "S", 5), "blue0")
    assert endpoints(into) == (client, server)
    for reporter in (HOST, "10.1.0.99"):
        told = gw.through("blue0", error(reporter, into, 3, 13), "wan")
        assert (told.src, told.dst, told[ICMP].code) == (WAN, SITE, 13)
        assert (told[IPerror].dst, told[TCPerror].dport, told[TCPerror].sport) == (WAN, 8080, 999)


def test_about_what_a_port_forward_answers(gw):
    gw.through("wan", tcp((SITE, 999), (WAN, 8080), "S", 5), "blue0")
    out = gw.through("blue0", tcp((HOST, 80), (SITE, 999), "SA", 9, 6), "wan")
    told = gw.through("wan", error(ROUTER, out, 3, 4, nexthopmtu=1000), "blue0")
    assert (told.src, told.dst, told[ICMP].nexthopmtu) == (ROUTER, HOST, 1000)
    assert (told[IPerror].src, told[TCPerror].sport, told[TCPerror].dport) == (HOST, 80, 999)


def test_about_what_a_static_translation_sends(gw):
    out = gw.through("blue0", udp((MAIL, 25), (SITE, 25), b"x" * 40), "wan")
    told = gw.through("wan", error(ROUTER, out, 11, 0, length=len(out)), "blue0")
    assert (told.dst, told[IPerror].src, told[UDPerror].sport) == (MAIL, MAIL, 25)


def quoted6(source, about, message):
    return IPv6(src=source, dst=about.src, hlim=60) / message / Raw(bytes(about)[:1200])


def test_about_what_a_masquerade_sends_of_ipv6(gw):
    sent = IPv6(src=HOST6, dst=SITE6) / UDP(sport=4000, dport=53) / Raw(b"x" * 64)
    out = gw.through("blue0", sent, "wan")
    assert (out.src, out.dst) == (WAN6, SITE6)
    for message in (ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1300), ICMPv6TimeExceeded()):
        told = gw.through("wan", quoted6(ROUTER6, out, message), "blue0")
        assert (told.src, told.dst) == (ROUTER6, HOST6)
        inner = told[IPerror6]
        assert (inner.src, inner.dst, inner[UDPerror].sport) == (HOST6, SITE6, 4000)
        # To the byte what the host sent, its checksum too, but for the hop limit.
        quote, was = bytes(inner), bytes(sent)
        assert (quote[:7], quote[8:]) == (was[:7], was[8:])


def test_about_a_masqueraded_echo_request_of_ipv6(gw):
    out = gw.through("blue0", IPv6(src=HOST6, dst=SITE6) / ICMPv6EchoRequest(id=9, seq=1), "wan")
    told = gw.through("wan", quoted6(ROUTER6, out, ICMPv6TimeExceeded()), "blue0")
    assert (told.dst, told[IPerror6].src) == (HOST6, HOST6)
    assert bytes(told[IPerror6])[44:46] == (9).to_bytes(2, "big")


def test_about_what_a_static_translation_takes_in_of_ipv6(gw):
    into = gw.through("wan", IPv6(src=SITE6, dst=SERVER6_OUTSIDE) / UDP(sport=7, dport=25) / Raw(b"y"), "blue0")
    assert into.dst == SERVER6
    told = gw.through("blue0", quoted6(SERVER6, into, ICMPv6DestUnreach(code=4)), "wan")
    assert (told.src, told.dst, told[IPerror6].dst) == (SERVER6_OUTSIDE, SITE6, SERVER6_OUTSIDE)


def test_with_a_bad_checksum_of_ipv6_are_dropped(gw):
    out = gw.through("blue0", IPv6(src=HOST6, dst=SITE6) / UDP(sport=4000, dport=53), "wan")
    told = IPv6(bytes(quoted6(ROUTER6, out, ICMPv6DestUnreach(code=4))))
    told[ICMPv6DestUnreach].cksum ^= 0x1111
    gw.silent("wan", told, "icmp_error_damaged")
