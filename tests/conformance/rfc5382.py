"""RFC 5382: behaviour of NAT for TCP."""

from gateway import *

WEB = (SITE, 80)
INSIDE = (HOST, 4000)
OUTSIDE = (WAN, 4000)


def connect(gw, inside=INSIDE, web=WEB):
    """A three-way handshake from inside; the external endpoint."""
    outside = endpoints(gw.through("blue0", tcp(inside, web, "S", 1000), "wan"))[0]
    gw.through("wan", tcp(web, outside, "SA", 5000, 1001), "blue0")
    gw.through("blue0", tcp(inside, web, "A", 1001, 5001), "wan")
    return outside


def alive(gw, outside=OUTSIDE, seq=5001, ack=1001):
    """Whether a segment of the server gets in."""
    return [interface for interface, _ in gw.send(("wan", tcp(WEB, outside, "A", seq, ack)))] == ["blue0"]


def test_req1_mapping_is_endpoint_independent(gw):
    seen = {endpoints(gw.through("blue0", tcp(INSIDE, to, "S", 9), "wan"))[0] for to in [WEB, (SITE, 443), (SITE2, 80)]}
    assert len(seen) == 1, seen


def test_req2_a_connection_from_inside(gw):
    outside = connect(gw)
    out = gw.through("blue0", tcp(INSIDE, WEB, "PA", 1001, 5001, b"GET"), "wan")
    assert endpoints(out) == (outside, WEB)
    back = gw.through("wan", tcp(WEB, outside, "PA", 5001, 1004, b"200"), "blue0")
    assert endpoints(back) == (WEB, INSIDE)
    # Either end closes; the last acknowledgment passes, too.
    gw.through("blue0", tcp(INSIDE, WEB, "FA", 1004, 5004), "wan")
    gw.through("wan", tcp(WEB, outside, "A", 5004, 1005), "blue0")
    gw.through("wan", tcp(WEB, outside, "PA", 5004, 1005, b"half-closed"), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1005, 5015), "wan")
    gw.through("wan", tcp(WEB, outside, "FA", 5015, 1005), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1005, 5016), "wan")


def test_req2_a_connection_from_outside(gw):
    client, server = (SITE, 5000), (HOST, 80)
    into = gw.through("wan", tcp(client, (WAN, 8080), "S", 1), "blue0")
    assert endpoints(into) == (client, server)
    back = gw.through("blue0", tcp(server, client, "SA", 7, 2), "wan")
    assert endpoints(back) == ((WAN, 8080), client)
    gw.through("wan", tcp(client, (WAN, 8080), "A", 2, 8), "blue0")
    gw.through("blue0", tcp(server, client, "PA", 8, 2, b"hello"), "wan")
    gw.through("wan", tcp(client, (WAN, 8080), "R", 2), "blue0")


def test_req2_lost_and_repeated_segments_of_the_handshake(gw):
    outside = endpoints(gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan"))[0]
    gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan")
    gw.through("wan", tcp(WEB, outside, "SA", 5000, 1001), "blue0")
    gw.through("wan", tcp(WEB, outside, "SA", 5000, 1001), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1001, 5001), "wan")
    gw.through("wan", tcp(WEB, outside, "SA", 5000, 1001), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1001, 5001), "wan")
    assert alive(gw)


def test_req2a_simultaneous_open(gw):
    outside = endpoints(gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan"))[0]
    # The SYNs cross; each end answers the other's with a SYN-ACK of the same number as its SYN.
    assert endpoints(gw.through("wan", tcp(WEB, outside, "S", 5000), "blue0")) == (WEB, INSIDE)
    gw.through("blue0", tcp(INSIDE, WEB, "SA", 1000, 5001), "wan")
    gw.through("wan", tcp(WEB, outside, "SA", 5000, 1001), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "PA", 1001, 5001, b"data"), "wan")
    gw.wait(7200)
    assert alive(gw, ack=1005), "it is established"


def test_req3_only_who_was_spoken_to_gets_in(gw):
    outside = connect(gw)
    for stranger in [(SITE, 81), (SITE2, 80)]:
        gw.silent("wan", tcp(stranger, outside, "S", 1), "local_no_service")
    assert alive(gw)


def opened(gw, filtering):
    """A connection to WEB by a masquerade with this filtering; its external endpoint."""
    gw.document["nat"]["masquerade"]["blue-out"]["filtering"] = filtering
    return connect(gw)


def test_req3_endpoint_independent_filtering(gw):
    outside = opened(gw, "endpoint_independent")
    for stranger in [(SITE, 81), (SITE2, 80)]:
        assert endpoints(gw.through("wan", tcp(stranger, outside, "S", 1), "blue0")) == (stranger, INSIDE)


def test_req3_address_dependent_filtering(gw):
    outside = opened(gw, "address_dependent")
    gw.through("wan", tcp((SITE, 81), outside, "S", 1), "blue0")
    gw.silent("wan", tcp((SITE2, 80), outside, "S", 1), "local_no_service")


def test_req2_a_connection_from_outside_to_a_mapping(gw):
    outside = opened(gw, "endpoint_independent")
    peer = (SITE2, 7000)
    gw.through("wan", tcp(peer, outside, "S", 100), "blue0")
    assert endpoints(gw.through("blue0", tcp(INSIDE, peer, "SA", 200, 101), "wan")) == (outside, peer)
    gw.through("wan", tcp(peer, outside, "A", 101, 201), "blue0")
    gw.wait(124 * 60 - 1)
    gw.through("wan", tcp(peer, outside, "A", 101, 201), "blue0")


def test_req2a_simultaneous_open_by_a_mapping_that_is_open(gw):
    # The SYN from outside is faster: it is let in, and the one from inside belongs to the same connection.
    outside = opened(gw, "endpoint_independent")
    peer = (SITE2, 7000)
    gw.through("wan", tcp(peer, outside, "S", 100), "blue0")
    assert endpoints(gw.through("blue0", tcp(INSIDE, peer, "S", 200), "wan")) == (outside, peer)
    gw.through("blue0", tcp(INSIDE, peer, "SA", 200, 101), "wan")
    gw.through("wan", tcp(peer, outside, "SA", 100, 201), "blue0")
    gw.through("wan", tcp(peer, outside, "A", 101, 201), "blue0")
    gw.wait(124 * 60 - 1)
    gw.through("blue0", tcp(INSIDE, peer, "A", 201, 101), "wan")


def test_req4_an_unsolicited_syn_is_not_answered(gw):
    # Silently, whatever comes (REQ-4a): not to a port in use, not to a free one, not after a while.
    connect(gw)
    for port in (4000, 4001, 22):
        gw.silent("wan", tcp((SITE2, 999), (WAN, port), "S", 1), "local_no_service")
    assert gw.wait(10) == []


def test_req4_a_syn_that_comes_too_early_does_no_harm(gw):
    # The other end of a simultaneous open is faster: its SYN is lost, and the one from inside goes out.
    gw.silent("wan", tcp(WEB, OUTSIDE, "S", 5000))
    outside = endpoints(gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan"))[0]
    gw.through("wan", tcp(WEB, outside, "S", 5000), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "SA", 1000, 5001), "wan")
    gw.through("wan", tcp(WEB, outside, "A", 5001, 1001), "blue0")
    assert alive(gw)


def test_req5_an_established_connection_lives_two_hours_and_four_minutes(gw):
    connect(gw)
    gw.wait(124 * 60 - 1)
    assert alive(gw)


def test_req5_a_connection_that_opens_lives_four_minutes(gw):
    outside = endpoints(gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan"))[0]
    gw.wait(239)
    gw.through("wan", tcp(WEB, outside, "SA", 5000, 1001), "blue0")


def test_req5_a_connection_that_closes_lives_four_minutes(gw):
    outside = connect(gw)
    gw.through("blue0", tcp(INSIDE, WEB, "FA", 1001, 5001), "wan")
    gw.through("wan", tcp(WEB, outside, "FA", 5001, 1002), "blue0")
    gw.through("blue0", tcp(INSIDE, WEB, "A", 1002, 5002), "wan")
    gw.wait(239)
    assert alive(gw, seq=5002, ack=1002)


def test_req6_payloads_are_left_alone(gw):
    # FTP's PORT, which an application layer gateway would change.
    connect(gw, web=(SITE, 21))
    data = b"PORT 10,1,0,10,15,160\r\n"
    out = gw.through("blue0", tcp(INSIDE, (SITE, 21), "PA", 1001, 5001, data), "wan")
    assert bytes(out[TCP].payload) == data


def test_req7_no_two_endpoints_share_a_mapping(gw):
    seen = set()
    for host in range(30, 130):
        seen.add(endpoints(gw.through("blue0", tcp((f"10.1.0.{host}", 4000), WEB, "S", 1), "wan"))[0])
    assert len(seen) == 100


def test_req8_hairpinning_by_a_port_forward(gw):
    into = gw.through("blue0", tcp((HOST2, 5000), (WAN, 8080), "S", 1), "blue0")
    source, destination = endpoints(into)
    # REQ-8a: the sender is seen by its external address and port.
    assert source[0] == WAN and destination == (HOST, 80)
    back = gw.through("blue0", tcp((HOST, 80), source, "SA", 9, 2), "blue0")
    assert endpoints(back) == ((WAN, 8080), (HOST2, 5000))
    gw.through("blue0", tcp((HOST2, 5000), (WAN, 8080), "A", 2, 10), "blue0")


def test_req8_hairpinning_to_a_mapping(gw):
    outside = opened(gw, "endpoint_independent")
    into = gw.through("blue0", tcp((HOST2, 5000), outside, "S", 1), "blue0")
    sender, destination = endpoints(into)
    # REQ-8a: the sender is seen by its external address and port.
    assert sender[0] == WAN and destination == INSIDE
    back = gw.through("blue0", tcp(INSIDE, sender, "SA", 9, 2), "blue0")
    assert endpoints(back) == (outside, (HOST2, 5000))
    gw.through("blue0", tcp((HOST2, 5000), outside, "A", 2, 10), "blue0")
    gw.wait(124 * 60 - 1)
    gw.through("blue0", tcp((HOST2, 5000), outside, "A", 2, 10), "blue0")


def test_req9_destination_unreachable_is_translated(gw):
    outside = connect(gw)
    out = gw.through("blue0", tcp(INSIDE, WEB, "A", 1001, 5001), "wan")
    for code in range(16):
        told = gw.through("wan", error(ROUTER, out, 3, code), "blue0")
        assert (told.dst, told[ICMP].code, told[IPerror].src, told[TCPerror].sport) == (HOST, code, *INSIDE)
    # And the other way: what the inside says of the server's segments.
    into = gw.through("wan", tcp(WEB, outside, "A", 5001, 1001), "blue0")
    told = gw.through("blue0", error(HOST, into, 3, 3), "wan")
    assert (told.src, told.dst) == (WAN, SITE)
    assert (told[IPerror].dst, told[TCPerror].dport) == outside


def test_req10_no_icmp_message_ends_a_connection(gw):
    connect(gw)
    out = gw.through("blue0", tcp(INSIDE, WEB, "A", 1001, 5001), "wan")
    for icmp_type, code in [(3, code) for code in range(16)] + [(4, 0), (5, 1), (11, 0), (11, 1), (12, 0)]:
        gw.send(("wan", error(SITE, out, icmp_type, code)))
        assert alive(gw), f"after ICMP type {icmp_type} code {code}"
    gw.wait(124 * 60 - 1)
    assert alive(gw)
