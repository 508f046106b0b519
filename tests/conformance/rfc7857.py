"""RFC 7857: updates to RFC 4787, RFC 5382 and RFC 5508, by section."""

from gateway import *
from rfc5382 import INSIDE, OUTSIDE, WEB, alive, connect

DNS = (SITE, 53)


def test_section2_1_opening_and_closing_connections_time_out(gw):
    # Nothing in between: a connection that opens, and one that has closed, are gone after four minutes.
    gw.through("blue0", tcp(INSIDE, WEB, "S", 1000), "wan")
    gw.wait(241)
    gw.silent("wan", tcp(WEB, OUTSIDE, "SA", 5000, 1001))


def test_section2_2_a_reset_connection_lives_four_minutes(gw):
    connect(gw)
    gw.through("blue0", tcp(INSIDE, WEB, "R", 1001), "wan")
    gw.wait(239)
    assert alive(gw)


def test_section2_2_a_reset_connection_ends_then(gw):
    connect(gw)
    gw.through("blue0", tcp(INSIDE, WEB, "R", 1001), "wan")
    gw.wait(241)
    assert not alive(gw)


def test_section2_2_a_reset_outside_the_window_has_no_effect(gw):
    connect(gw)
    gw.send(("wan", tcp(WEB, OUTSIDE, "R", 5001 + 0x4000_0000)))
    gw.wait(241)
    assert alive(gw)


def test_section4_pooling_is_paired_for_tcp_too(gw):
    pool(gw)
    used = set()
    for host in range(30, 60):
        seen = {
            gw.through("blue0", tcp((f"10.1.0.{host}", port), (site, 80), "S"), "wan").src
            for port, site in [(4000, SITE), (4001, SITE), (4002, SITE2)]
        }
        assert len(seen) == 1, seen
        used |= seen
    assert len(used) > 1


def test_section5_mappings_are_of_one_protocol(gw):
    # The port that TCP of one host has, UDP of another gets: the mappings have nothing to do with each other.
    assert endpoints(gw.through("blue0", tcp((HOST, 4000), WEB, "S"), "wan"))[0] == OUTSIDE
    assert endpoints(gw.through("blue0", udp((HOST2, 4000), DNS), "wan"))[0] == OUTSIDE
    assert endpoints(gw.through("wan", udp(DNS, OUTSIDE), "blue0"))[1] == (HOST2, 4000)


def test_section6_filters_are_of_one_protocol(gw):
    gw.through("blue0", tcp((HOST, 4000), (SITE, 53), "S"), "wan")
    out = gw.send(("wan", udp(DNS, OUTSIDE)))
    assert all(interface == "wan" for interface, _ in out), describe(out)


def test_section6_1_errors_do_not_refresh(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    into = gw.through("wan", udp(DNS, OUTSIDE), "blue0")
    gw.wait(200)
    # What the inside says of an answer that it does not want keeps nothing alive.
    gw.through("blue0", error(HOST, into, 3, 3), "wan")
    gw.wait(101)
    out = gw.send(("wan", udp(DNS, OUTSIDE)))
    assert all(interface == "wan" for interface, _ in out), describe(out)


def test_section6_1_resets_do_not_refresh(gw):
    connect(gw)
    gw.wait(3600)
    gw.through("blue0", tcp(INSIDE, WEB, "R", 1001), "wan")
    gw.wait(241)
    assert not alive(gw)


def test_section8_ports_that_must_change_are_not_guessed_from_the_address(gw):
    # Preserved where they can be; where they cannot, the first one depends on a secret.
    assert endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0] == OUTSIDE
    outside = endpoints(gw.through("blue0", udp((HOST2, 4000), DNS), "wan"))[0]
    assert outside[1] not in (4000, 4001, 1024)


def test_section9_identification_is_kept(gw):
    # RFC 6864: of what may be fragmented, the sender's own stays unique to it; of what may not, it says nothing.
    for identification, flags in [(1, 0), (0xFFFF, 0), (7, "DF")]:
        out = gw.through("blue0", udp((HOST, 4000), DNS, id=identification, flags=flags), "wan")
        assert out.id == identification


def test_section10_a_query_mapping_ends_with_its_last_session(gw):
    outside = gw.through("blue0", echo(HOST, SITE, 7), "wan")[ICMP].id
    gw.wait(61)
    gw.silent("wan", echo_reply(SITE, WAN, outside))
    # The identifier is free for others.
    assert gw.through("blue0", echo(HOST2, SITE, 7), "wan")[ICMP].id == outside
