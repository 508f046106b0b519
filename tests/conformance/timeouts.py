"""Time-outs as configured: a VPC's (`vpcs/NAME/conntrack`) and those of a single rule of NAT.

RFC 4787 REQ-5b, RFC 5382 REQ-5a, RFC 5508 REQ-2a and RFC 7857 section 2.1 ask for them.
"""

from gateway import *
from rfc5382 import INSIDE, WEB, alive, connect
from rfc5508 import ping, ponged

DNS = (SITE, 53)


def answered(gw):
    return [interface for interface, _ in gw.send(("wan", udp(DNS, (WAN, 4000))))] == ["blue0"]


def conntrack(gw, **settings):
    gw.document["vpcs"]["blue"]["conntrack"] = settings


def test_udp_lives_as_its_vpc_says(gw):
    conntrack(gw, udp_unreplied="20s", udp_replied="10m")
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    gw.wait(19)
    assert answered(gw)
    gw.wait(599)
    assert answered(gw)
    gw.wait(601)
    assert not answered(gw)
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    gw.wait(21)
    assert not answered(gw)


def test_udp_lives_as_its_rule_says(gw):
    gw.document["nat"]["masquerade"]["blue-out"]["idle_timeout"] = "30s"
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    gw.wait(29)
    assert answered(gw)
    gw.wait(31)
    assert not answered(gw)


def test_established_tcp_lives_as_its_vpc_says(gw):
    conntrack(gw, tcp_established="10m")
    connect(gw)
    gw.wait(599)
    assert alive(gw)
    gw.wait(601)
    assert not alive(gw)


def test_tcp_that_opens_and_tcp_that_closes_have_time_outs_of_their_own(gw):
    conntrack(gw, tcp_partially_open="30s", tcp_partially_closed="5m")
    outside = endpoints(gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan"))[0]
    gw.wait(31)
    gw.silent("wan", tcp(WEB, outside, "SA", 5000, 1001))
    connect(gw)
    gw.through("blue0", tcp(INSIDE, WEB, "FA", 1001, 5001), "wan")
    gw.through("wan", tcp(WEB, outside, "FA", 5001, 1002), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1002, 5002), "wan")
    gw.wait(299)
    assert alive(gw, seq=5002, ack=1002)
    gw.wait(301)
    assert not alive(gw, seq=5002, ack=1002)


def test_queries_live_as_their_vpc_says(gw):
    conntrack(gw, icmp_query="2m")
    outside = ping(gw)
    gw.wait(119)
    assert ponged(gw, outside)
    gw.wait(121)
    assert not ponged(gw, outside)
