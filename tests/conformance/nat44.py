"""Behaviours that the NAT44 suites of other routers expect of packets, where no RFC's case shows them already."""

from gateway import *

DNS = (SITE, 53)
INSIDE = (HOST, 4000)


def test_all_of_tcp_udp_and_icmp_go_out_and_come_back(gw):
    for build in (udp, lambda source, to: tcp(source, to, "S", 1)):
        outside = endpoints(gw.through("blue0", build(INSIDE, DNS), "wan"))[0]
        back = udp(DNS, outside) if build is udp else tcp(DNS, outside, "SA", 7, 2)
        assert endpoints(gw.through("wan", back, "blue0")) == (DNS, INSIDE)
    out = gw.through("blue0", echo(HOST, SITE, 3), "wan")
    assert gw.through("wan", echo_reply(SITE, WAN, out[ICMP].id), "blue0").dst == HOST


def test_the_ports_at_the_edges_are_translated(gw):
    for port in (1, 1023, 1024, 65535):
        outside = endpoints(gw.through("blue0", udp((HOST, port), (SITE, 65535)), "wan"))[0]
        assert endpoints(gw.through("wan", udp((SITE, 65535), outside), "blue0"))[1] == (HOST, port)


def test_a_time_to_live_of_one_ends_here_either_way(gw):
    told = gw.through("blue0", udp(INSIDE, DNS, ttl=1), "blue0")
    assert (told.src, told[ICMP].type, told[IPerror].src) == ("10.1.0.1", 11, HOST)
    outside = endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan"))[0]
    # The sender outside is shown its own packet, to the address that it sent it to.
    told = gw.through("wan", udp(DNS, outside, ttl=1), "wan")
    assert (told.src, told.dst, told[ICMP].type) == (WAN, SITE, 11)
    assert (told[IPerror].dst, told[UDPerror].dport) == outside


def test_what_no_rule_is_for_is_forwarded_as_it_is(gw):
    gw.document["nat"]["masquerade"].pop("blue-out")
    assert endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan")) == (INSIDE, DNS)


def test_fragments_that_no_rule_is_for_are_forwarded_as_they_are(gw):
    gw.document["nat"]["masquerade"].pop("blue-out")
    sent = udp(INSIDE, DNS, bytes(range(256)) * 5, id=5)
    for order in (1, -1):
        sent.id += 1
        out = [packet for part in fragments(sent)[::order] for _, packet in gw.send(part)]
        whole = reassembled(out)
        assert endpoints(whole) == (INSIDE, DNS)
        assert bytes(whole[UDP].payload) == bytes(range(256)) * 5


def test_the_gateway_answers_pings_from_outside_and_hosts_behind_it_do_not(gw):
    assert gw.through("wan", echo(SITE, WAN, 9), "wan")[ICMP].type == 0
    out = gw.send(("wan", echo(SITE, HOST, 9)))
    assert all(interface == "wan" for interface, _ in out), describe(out)


def test_a_static_translation_leads_in_and_out_for_any_protocol(gw):
    for number in (47, 50, 132):
        into = gw.through("wan", IP(src=SITE, dst=MAIL_OUTSIDE, proto=number) / Raw(b"x" * 40), "blue0")
        assert (into.src, into.dst) == (SITE, MAIL)
        back = gw.through("blue0", IP(src=MAIL, dst=SITE, proto=number) / Raw(b"x" * 40), "wan")
        assert (back.src, back.dst) == (MAIL_OUTSIDE, SITE)
    out = gw.through("blue0", udp((MAIL, 77), DNS), "wan")
    assert endpoints(out) == ((MAIL_OUTSIDE, 77), DNS)


def test_a_static_translation_is_of_one_vpc(gw):
    # Red has a host of the same address, which nobody outside can reach by blue's external one.
    gw.document["interfaces"]["red0"]["addresses"] = ["10.1.0.1/24"]
    gw.document["nat"]["masquerade"]["red-out"]["sources"] = ["10.1.0.0/24"]
    out = gw.through("red0", udp((MAIL, 77), DNS), "wan")
    assert out.src == WAN
    gw.through("wan", udp((SITE, 9), (MAIL_OUTSIDE, 77)), "blue0")


def test_a_port_forward_is_one_way(gw):
    # From outside the rule leads in; what the server opens itself is masqueraded, to a port that is not the rule's.
    assert endpoints(gw.through("wan", tcp((SITE, 9), (WAN, 8080), "S", 1), "blue0"))[1] == (HOST, 80)
    outside = endpoints(gw.through("blue0", tcp((HOST, 80), (SITE2, 99), "S", 1), "wan"))[0]
    assert outside[0] == WAN and outside[1] != 8080


def test_protocols_without_ports_are_masqueraded_by_their_address(gw):
    out = gw.through("blue0", IP(src=HOST, dst=SITE, proto=47) / Raw(b"gre" * 9), "wan")
    assert (out.src, out.dst) == (WAN, SITE)
    back = gw.through("wan", IP(src=SITE, dst=WAN, proto=47) / Raw(b"gre" * 9), "blue0")
    assert (back.src, back.dst) == (SITE, HOST)


def test_an_exclusion_is_forwarded_as_it_is(gw):
    gw.document["nat"]["exclusions"] = {"site": {"vpc": "blue", "destinations": [f"{SITE2}/32"]}}
    assert endpoints(gw.through("blue0", udp(INSIDE, (SITE2, 53)), "wan"))[0] == INSIDE
    assert endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan"))[0][0] == WAN


def test_ports_of_a_rule_are_the_only_ones_that_are_given_out(gw):
    gw.document["nat"]["masquerade"]["blue-out"]["ports"] = "2000-2003"
    seen = {endpoints(gw.through("blue0", udp((HOST, 4000 + n), DNS), "wan"))[0][1] for n in range(4)}
    assert seen == {2000, 2001, 2002, 2003}
    before = gw.drops().get("nat_ports_exhausted", 0)
    gw.send(("blue0", udp((HOST, 5000), DNS)))
    assert gw.drops().get("nat_ports_exhausted", 0) == before + 1


def test_a_masquerade_follows_its_interfaces_address(gw):
    assert gw.through("blue0", udp(INSIDE, DNS), "wan").src == WAN
    gw.document["interfaces"]["wan"]["addresses"] = ["203.0.113.77/24", "2001:db8:f::1/64"]
    gw.document["nat"].pop("port_forward")
    gw.commit()
    assert gw.through("blue0", udp(INSIDE, DNS), "wan").src == "203.0.113.77"


def test_a_host_that_gets_an_address_of_its_own_uses_it(gw):
    assert gw.through("blue0", udp(INSIDE, DNS), "wan").src == WAN
    gw.document["nat"]["static"]["own"] = {
        "external_vpc": "internet", "external_address": "203.0.113.50",
        "internal_vpc": "blue", "internal_address": HOST,
    }
    gw.commit()
    assert endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan"))[0] == ("203.0.113.50", 4000)


def test_a_port_forward_takes_its_port_from_whoever_had_it(gw):
    assert endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan"))[0] == (WAN, 4000)
    gw.document["nat"]["port_forward"]["dns"] = {
        "protocol": "udp", "external_vpc": "internet", "external_address": WAN, "external_port": 4000,
        "internal_vpc": "blue", "internal_address": HOST2, "internal_port": 53,
    }
    gw.commit()
    assert endpoints(gw.through("blue0", udp(INSIDE, DNS), "wan"))[0] != (WAN, 4000)
    assert endpoints(gw.through("wan", udp(DNS, (WAN, 4000)), "blue0"))[1] == (HOST2, 53)


def closed(gw):
    """A TCP connection that both ends have closed."""
    outside = endpoints(gw.through("blue0", tcp(INSIDE, (SITE, 80), "S", 1000), "wan"))[0]
    gw.through("wan", tcp((SITE, 80), outside, "SA", 5000, 1001), "blue0")
    gw.through("blue0", tcp(INSIDE, (SITE, 80), "FA", 1001, 5001), "wan")
    gw.through("wan", tcp((SITE, 80), outside, "FA", 5001, 1002), "blue0")
    gw.through("blue0", tcp(INSIDE, (SITE, 80), "A", 1002, 5002), "wan")
    return outside


def test_a_closed_connection_is_opened_again_from_inside(gw):
    outside = closed(gw)
    assert endpoints(gw.through("blue0", tcp(INSIDE, (SITE, 80), "S", 90000), "wan"))[0] == outside
    gw.through("wan", tcp((SITE, 80), outside, "SA", 70000, 90001), "blue0")
    gw.through("blue0", tcp(INSIDE, (SITE, 80), "PA", 90001, 70001, b"again"), "wan")


def test_a_closed_connection_is_not_opened_again_from_outside(gw):
    outside = closed(gw)
    out = gw.send(("wan", tcp((SITE, 80), outside, "S", 70000)))
    assert all(interface == "wan" for interface, _ in out), describe(out)


def test_padding_behind_a_packet_is_not_forwarded(gw):
    outside = gw.through("blue0", echo(HOST, SITE, 3), "wan")[ICMP].id
    reply = Ether(src=HOST_MAC, dst=MACS["wan"]) / echo_reply(SITE, WAN, outside, b"1")
    padded = Ether(bytes(reply) + b"\xee" * 17)
    (out,) = gw.send(("wan", padded))
    assert out[0] == "blue0" and len(bytes(out[1])) == out[1].len == 29


def test_hosts_are_spread_over_a_pool(gw):
    pool(gw)
    seen = {gw.through("blue0", udp((f"10.1.0.{host}", 4000), DNS), "wan").src for host in range(30, 94)}
    assert len(seen) >= 6, seen
