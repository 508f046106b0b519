"""RFC 4787: behaviour of NAT for unicast UDP."""

from gateway import *

DNS = (SITE, 53)


def test_req1_mapping_is_endpoint_independent(gw):
    inside = (HOST, 4000)
    seen = {endpoints(gw.through("blue0", udp(inside, to), "wan"))[0] for to in [DNS, (SITE, 54), (SITE2, 53)]}
    assert len(seen) == 1, seen


def test_req2_a_host_keeps_to_one_external_address(gw):
    pool(gw)
    used = set()
    for host in range(30, 60):
        flows = [udp((f"10.1.0.{host}", port), (SITE, to)) for port, to in [(4000, 53), (4001, 53), (5000, 123)]]
        flows.append(tcp((f"10.1.0.{host}", 6000), (SITE, 80), "S"))
        seen = {gw.through("blue0", packet, "wan").src for packet in flows}
        assert len(seen) == 1, seen
        used |= seen
    assert len(used) > 1, "all hosts have the same address"


def test_req3_no_two_endpoints_share_a_mapping(gw):
    seen = {}
    for host in range(30, 130):
        for port in (4000, 4001):
            inside = (f"10.1.0.{host}", port)
            outside = endpoints(gw.through("blue0", udp(inside, DNS), "wan"))[0]
            assert seen.setdefault(outside, inside) == inside, (outside, inside, seen[outside])
    assert len(seen) == 200


def test_req3a_ports_from_1024_on_stay_there(gw):
    for host in (HOST, HOST2):
        outside = endpoints(gw.through("blue0", udp((host, 5000), DNS), "wan"))[0]
        assert outside[1] >= 1024, f"5000 became {outside[1]}"


def test_req3a_a_well_known_port_is_kept_where_it_is_free(gw):
    assert endpoints(gw.through("blue0", udp((HOST, 500), DNS), "wan"))[0] == (WAN, 500)
    # Where it is not, one from 1024 on is given out.
    assert endpoints(gw.through("blue0", udp((HOST2, 500), DNS), "wan"))[0][1] >= 1024


def keeping(gw, field):
    """Many hosts that send from one pair of ports each."""
    gw.document["nat"]["masquerade"]["blue-out"][field] = True
    for host in range(30, 130):
        inside = f"10.1.0.{host}"
        even, odd = (endpoints(gw.through("blue0", udp((inside, port), DNS), "wan"))[0] for port in (4000, 4001))
        yield inside, even, odd


def test_req4_parity_is_preserved_where_a_rule_asks(gw):
    for inside, even, odd in keeping(gw, "preserve_parity"):
        assert even[1] % 2 == 0 and odd[1] % 2 == 1, (inside, even, odd)


def test_req4_pairs_of_ports_stay_pairs_where_a_rule_asks(gw):
    for inside, even, odd in keeping(gw, "preserve_contiguity"):
        assert even[1] % 2 == 0 and odd == (even[0], even[1] + 1), (inside, even, odd)


def answered(gw, inside=(HOST, 4000)):
    """Whether the mapping of `inside` is there: an answer comes in. (The answer is not an outbound packet.)"""
    out = gw.send(("wan", udp(DNS, (WAN, inside[1]))))
    return [(interface, endpoints(packet)) for interface, packet in out] == [("blue0", (DNS, inside))]


def test_req5_a_mapping_lives_two_minutes(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    gw.wait(119)
    assert answered(gw)


def test_req5c_a_mapping_that_was_answered_lives_five_minutes(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    assert answered(gw)
    gw.wait(299)
    assert answered(gw)
    gw.wait(301)
    assert not answered(gw)


def test_req6_outbound_packets_refresh(gw):
    for _ in range(5):
        gw.through("blue0", udp((HOST, 4000), DNS), "wan")
        gw.wait(119)
    assert answered(gw)


def test_req6a_inbound_packets_refresh(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    for _ in range(4):
        assert answered(gw)
        gw.wait(299)
    assert answered(gw)


def test_req7_inside_and_outside_may_have_the_same_addresses(gw):
    # Two tenants with the same addresses, which also are an outside network's: each VPC is an address space of its own.
    gw.document["interfaces"]["red0"]["addresses"] = ["10.1.0.1/24"]
    gw.document["nat"]["masquerade"]["red-out"]["sources"] = ["10.1.0.0/24"]
    gw.document["vpcs"]["internet"]["routes"]["10.1.0.0/24"] = {
        "next_hops": [{"interface": "wan", "via": ROUTER}]
    }
    blue = endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0]
    red = endpoints(gw.through("red0", udp((HOST, 4000), DNS), "wan"))[0]
    assert blue != red
    assert endpoints(gw.through("wan", udp(DNS, blue), "blue0")) == (DNS, (HOST, 4000))
    assert endpoints(gw.through("wan", udp(DNS, red), "red0")) == (DNS, (HOST, 4000))


def test_req8_only_who_was_spoken_to_gets_in(gw):
    outside = endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0]
    for stranger in [(SITE, 54), (SITE2, 53)]:
        out = gw.send(("wan", udp(stranger, outside)))
        assert [interface for interface, _ in out if interface != "wan"] == [], describe(out)
    assert endpoints(gw.through("wan", udp(DNS, outside), "blue0")) == (DNS, (HOST, 4000))


def lets_in(gw, filtering):
    """Whom a masquerade with this filtering lets in that was sent to DNS, besides DNS itself, and where to."""
    gw.document["nat"]["masquerade"]["blue-out"]["filtering"] = filtering
    outside = endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0]
    assert endpoints(gw.through("wan", udp(DNS, outside), "blue0")) == (DNS, (HOST, 4000))
    found = []
    for stranger in [(SITE, 54), (SITE2, 53)]:
        into = [packet for interface, packet in gw.send(("wan", udp(stranger, outside))) if interface == "blue0"]
        if into:
            assert endpoints(into[0]) == (stranger, (HOST, 4000))
            # The answer goes out by the same mapping.
            back = gw.through("blue0", udp((HOST, 4000), stranger), "wan")
            assert endpoints(back) == (outside, stranger)
            found.append(stranger)
    return found


def test_req8_endpoint_independent_filtering(gw):
    assert lets_in(gw, "endpoint_independent") == [(SITE, 54), (SITE2, 53)]


def test_req8_address_dependent_filtering(gw):
    assert lets_in(gw, "address_dependent") == [(SITE, 54)]


def test_req8a_filtering_is_configured(gw):
    assert lets_in(gw, "address_and_port_dependent") == []


def test_req6_who_is_not_answered_refreshes_no_mapping(gw):
    gw.document["nat"]["masquerade"]["blue-out"]["filtering"] = "endpoint_independent"
    outside = endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0]
    # Strangers, each before the mapping's time is up: it is not theirs to hold.
    for n in range(11):
        gw.wait(10)
        gw.through("wan", udp((SITE2, 100 + n), outside), "blue0")
    gw.wait(12)
    out = gw.send(("wan", udp((SITE2, 99), outside)))
    assert [interface for interface, _ in out if interface != "wan"] == [], describe(out)


def test_req9_hairpinning_by_static_nat(gw):
    into = gw.through("blue0", udp((HOST2, 5000), (MAIL_OUTSIDE, 25)), "blue0")
    source, destination = endpoints(into)
    # REQ-9a: the sender is seen by its external address and port.
    assert source[0] == WAN and destination == (MAIL, 25)
    back = gw.through("blue0", udp((MAIL, 25), source), "blue0")
    assert endpoints(back) == ((MAIL_OUTSIDE, 25), (HOST2, 5000))


def test_req9_hairpinning_to_a_mapping(gw):
    gw.document["nat"]["masquerade"]["blue-out"]["filtering"] = "endpoint_independent"
    outside = endpoints(gw.through("blue0", udp((HOST, 4000), DNS), "wan"))[0]
    into = gw.through("blue0", udp((HOST2, 5000), outside), "blue0")
    # REQ-9a: the sender is seen by its external address and port.
    sender, destination = endpoints(into)
    assert sender[0] == WAN and destination == (HOST, 4000)
    back = gw.through("blue0", udp((HOST, 4000), sender), "blue0")
    assert endpoints(back) == (outside, (HOST2, 5000))
    # Which is the same towards the outside (REQ-1).
    assert endpoints(gw.through("blue0", udp((HOST2, 5000), DNS), "wan"))[0] == sender


def test_req10_payloads_are_left_alone(gw):
    # What an application layer gateway would change: the inside's address in SIP.
    data = f"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:5060\r\nc=IN IP4 {HOST}\r\n".encode()
    out = gw.through("blue0", udp((HOST, 5060), (SITE, 5060), data), "wan")
    assert bytes(out[Raw]) == data


def test_req11_behaviour_is_the_same_when_the_port_is_taken(gw):
    # The second host cannot have its port: mapping and filtering are the same for it.
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    seen = {endpoints(gw.through("blue0", udp((HOST2, 4000), to), "wan"))[0] for to in [DNS, (SITE2, 53)]}
    assert len(seen) == 1, seen
    (outside,) = seen
    assert outside != (WAN, 4000)
    assert endpoints(gw.through("wan", udp(DNS, outside), "blue0"))[1] == (HOST2, 4000)
    out = gw.send(("wan", udp((SITE, 54), outside)))
    assert all(interface == "wan" for interface, _ in out), describe(out)


def test_req12_no_icmp_message_ends_a_mapping(gw):
    out = gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    kinds = [(3, code) for code in range(16)] + [(4, 0), (5, 1), (11, 0), (11, 1), (12, 0), (13, 0), (15, 0), (17, 0)]
    for icmp_type, code in kinds:
        gw.send(("wan", error(SITE, out, icmp_type, code)))
        assert answered(gw), f"after ICMP type {icmp_type} code {code}"


def test_req12a_icmp_errors_come_from_any_router(gw):
    out = gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    for router in (SITE, ROUTER, "192.0.2.77"):
        told = gw.through("wan", error(router, out, 11, 0), "blue0")
        assert (told.src, told.dst) == (router, HOST)


def test_req12b_destination_unreachable_is_translated(gw):
    sent = udp((HOST, 4000), DNS)
    out = gw.through("blue0", sent, "wan")
    for code in range(16):
        told = gw.through("wan", error(SITE, out, 3, code), "blue0")
        assert (told.dst, told[ICMP].type, told[ICMP].code) == (HOST, 3, code)
        assert (told[IPerror].src, told[UDPerror].sport) == (HOST, 4000)


def test_req13_a_packet_too_large_with_df_is_answered(gw):
    sent = udp((HOST, 4000), DNS, b"x" * 1400, flags="DF")
    told = gw.through("blue0", sent, "blue0")
    assert (told[ICMP].type, told[ICMP].code, told[ICMP].nexthopmtu) == (3, 4, 1400)
    # The sender's own packet is quoted.
    assert (told[IPerror].src, told[IPerror].dst, told[UDPerror].sport) == (HOST, SITE, 4000)


def test_req13a_without_df_it_is_fragmented_in_order(gw):
    data = bytes(range(256)) * 12
    out = [packet for _, packet in gw.send(("blue0", udp((HOST, 4000), DNS, data[:1450])))]
    assert len(out) == 2 and [p.frag for p in out] == sorted(p.frag for p in out), describe(out)
    assert {p.src for p in out} == {WAN}
    whole = reassembled(out)
    assert bytes(whole[Raw]) == data[:1450]
    assert endpoints(whole) == ((WAN, 4000), DNS)


def test_req14_fragments_in_order_follow_their_mapping(gw):
    data = bytes(range(256)) * 8
    sent = udp((HOST, 4000), DNS, data, id=77)
    out = [packet for part in fragments(sent) for _, packet in gw.send(part)]
    whole = reassembled(out)
    assert (endpoints(whole), bytes(whole[Raw])) == (((WAN, 4000), DNS), data)
    back = [packet for part in fragments(udp(DNS, (WAN, 4000), data, id=78)) for _, packet in gw.send(part)]
    whole = reassembled(back)
    assert (endpoints(whole), bytes(whole[Raw])) == ((DNS, (HOST, 4000)), data)


def test_req14_fragments_out_of_order_follow_their_mapping(gw):
    data = bytes(range(256)) * 8
    for number, order in enumerate([[4, 3, 2, 1, 0], [1, 0, 3, 2, 4], [2, 4, 1, 3, 0], [0, 4, 2, 1, 3]]):
        parts = fragments(udp((HOST, 4000), DNS, data, id=100 + number))
        assert len(parts) == 5
        out = [packet for index in order for _, packet in gw.send(parts[index])]
        whole = reassembled(out)
        assert (endpoints(whole), bytes(whole[Raw])) == (((WAN, 4000), DNS), data)


def test_req14a_a_flood_of_fragments_leaves_other_packets_alone(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    data = b"y" * 1024
    (_, later) = fragments(udp((HOST, 9), (SITE, 9), data))[-1]
    for start in range(0, 1024, 32):
        flood = []
        for identification in range(start, start + 32):
            later.id = identification
            flood.append(("blue0", later.copy()))
        assert gw.send(*flood) == []
        assert answered(gw)
        gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    # And fragments in order, of which the first comes first.
    gw.wait(1)
    out = [packet for part in fragments(udp((HOST, 4000), DNS, data, id=9999)) for _, packet in gw.send(part)]
    assert bytes(reassembled(out)[Raw]) == data
