"""RFC 5508: behaviour of NAT for ICMP."""

from gateway import *
from scapy.layers.inet import IPOption_NOP
from scapy.utils import checksum

DNS = (SITE, 53)


def ping(gw, identifier=7, host=HOST, to=SITE):
    """An echo request from inside; its identifier outside."""
    out = gw.through("blue0", echo(host, to, identifier), "wan")
    assert (out.src, out.dst, out[ICMP].type) == (WAN, to, 8)
    return out[ICMP].id


def ponged(gw, outside, identifier=7, host=HOST, site=SITE):
    """Whether an echo reply of the site gets in."""
    out = gw.send(("wan", echo_reply(site, WAN, outside)))
    return [(i, p.dst, p[ICMP].id) for i, p in out] == [("blue0", host, identifier)]


def test_req1_queries_from_inside_and_their_answers_pass(gw):
    assert ponged(gw, ping(gw))
    # Every kind of query: echo, timestamp, information, address mask.
    for query, reply in [(13, 14), (15, 16), (17, 18)]:
        sent = IP(src=HOST, dst=SITE) / ICMP(type=query, id=9, seq=1)
        out = gw.through("blue0", sent, "wan")
        back = gw.through("wan", IP(src=SITE, dst=WAN) / ICMP(type=reply, id=out[ICMP].id, seq=1), "blue0")
        assert (back.dst, back[ICMP].type, back[ICMP].id) == (HOST, reply, 9)


def test_req1a_identifiers_do_not_depend_on_the_external_host(gw):
    # Where the identifier is taken, and where it is not.
    assert ping(gw) == ping(gw, to=SITE2)
    other = ping(gw, host=HOST2)
    assert other == ping(gw, host=HOST2, to=SITE2) != 7


def test_req2_a_query_session_lives_a_minute(gw):
    outside = ping(gw)
    gw.wait(59)
    assert ponged(gw, outside)


def quoted(gw):
    """A packet that went out, and an ICMP error about it."""
    out = gw.through("blue0", udp((HOST, 4000), DNS, b"x" * 64), "wan")
    return error(ROUTER, out, 3, 1, length=len(out))


def test_req3_errors_with_a_bad_checksum_are_dropped(gw):
    told = IP(bytes(quoted(gw)))
    told[ICMP].chksum ^= 0x1111
    gw.silent("wan", told)


def test_req3a_errors_about_a_bad_header_are_dropped(gw):
    about = gw.through("blue0", udp((HOST, 4000), DNS), "wan").copy()
    about.chksum ^= 0x2222
    gw.silent("wan", error(ROUTER, about, 3, 1))


def test_req3b_options_in_the_quote_are_skipped(gw):
    sent = udp((HOST, 4000), DNS, b"x" * 8, options=[IPOption_NOP()] * 8)
    out = gw.through("blue0", sent, "wan")
    assert out.ihl == 7
    told = gw.through("wan", error(ROUTER, out, 3, 1, length=36), "blue0")
    assert (told.dst, told[IPerror].src, told[UDPerror].sport) == (HOST, HOST, 4000)


def test_req3c_a_bad_transport_checksum_in_the_quote_is_no_matter(gw):
    about = IP(bytes(gw.through("blue0", udp((HOST, 4000), DNS, b"x" * 64), "wan")))
    about[UDP].chksum ^= 0x3333
    told = gw.through("wan", error(ROUTER, about, 3, 1, length=len(about)), "blue0")
    assert told[IPerror].src == HOST


def test_req3d_extensions_stay_as_they_are(gw):
    out = bytes(gw.through("blue0", udp((HOST, 4000), DNS, b"x" * 64), "wan"))
    # RFC 4884: the quote padded to 128 bytes, its length in words of 32 bits, and an extension with a checksum of its own.
    extension = bytes.fromhex("2000ffff00080101deadbeef")
    message = ICMP(type=11, code=0, reserved=0) / Raw(out.ljust(128, b"\0") + extension)
    message = bytes(message)
    message = message[:5] + bytes([32]) + message[6:]
    told = IP(src=ROUTER, dst=WAN, proto=1) / Raw(checked(message))
    back = bytes(gw.through("wan", told, "blue0").payload)
    assert back[8 + 128:] == extension
    assert back[8 + len(out):8 + 128] == bytes(128 - len(out))
    assert IP(back[8:]).src == HOST


def checked(message):
    """An ICMP message with its checksum."""
    message = message[:2] + b"\0\0" + message[4:]
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


def test_req4_errors_from_outside_about_nothing_are_dropped(gw):
    about = udp((WAN, 4000), DNS)
    gw.silent("wan", error(ROUTER, about), "icmp_error_unrelated")


def test_req4_errors_from_outside_are_translated_back(gw):
    for sent in [udp((HOST, 4000), DNS), tcp((HOST, 4001), (SITE, 80), "S", 77), echo(HOST, SITE, 7)]:
        sent = IP(bytes(sent))
        out = gw.through("blue0", sent, "wan")
        for icmp_type, code in [(3, 1), (3, 4), (11, 0), (12, 0)]:
            told = gw.through("wan", error(ROUTER, out, icmp_type, code), "blue0")
            assert (told.src, told.dst, told[ICMP].type, told[ICMP].code) == (ROUTER, HOST, icmp_type, code)
            # The quote is what the host sent, but for the hop limit and the header's checksum.
            quote = bytes(told[IPerror])[:28]
            was = bytes(sent)[:28]
            ports = slice(20, 24) if sent.proto != 1 else slice(24, 26)
            assert quote[12:20] == was[12:20] and quote[ports] == was[ports], (quote.hex(), was.hex())


def test_req4_the_transport_checksum_in_the_quote_is_reverted(gw):
    sent = IP(bytes(udp((HOST, 4000), DNS, b"x" * 64)))
    out = gw.through("blue0", sent, "wan")
    told = gw.through("wan", error(ROUTER, out, 3, 1, length=len(out)), "blue0")
    assert told[UDPerror].chksum == sent[UDP].chksum


def test_req5_errors_from_inside_about_nothing_are_dropped(gw):
    about = udp(DNS, (HOST, 4000))
    gw.silent("blue0", error(HOST, about), "icmp_error_unrelated")


def test_req5_errors_from_inside_are_translated(gw):
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    into = gw.through("wan", udp(DNS, (WAN, 4000)), "blue0")
    told = gw.through("blue0", error(HOST, into, 3, 3), "wan")
    assert (told.src, told.dst, told[ICMP].type, told[ICMP].code) == (WAN, SITE, 3, 3)
    assert (told[IPerror].dst, told[UDPerror].dport) == (WAN, 4000)


def test_req5c_a_router_inside_does_not_show_its_address(gw):
    # NAPT: whoever inside reports is seen as the gateway's own public address.
    gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    into = gw.through("wan", udp(DNS, (WAN, 4000)), "blue0")
    told = gw.through("blue0", error("10.1.0.99", into, 11, 0), "wan")
    assert (told.src, told.dst) == (WAN, SITE)


def test_req5c_basic_nat_shows_the_mapped_address(gw):
    into = gw.through("wan", udp(DNS, (MAIL_OUTSIDE, 25)), "blue0")
    assert into.dst == MAIL
    told = gw.through("blue0", error(MAIL, into, 3, 3), "wan")
    assert (told.src, told.dst, told[IPerror].dst) == (MAIL_OUTSIDE, SITE, MAIL_OUTSIDE)


def test_req6_errors_do_not_refresh_a_query_session(gw):
    out = gw.through("blue0", echo(HOST, SITE, 7), "wan")
    for _ in range(2):
        gw.wait(29)
        gw.through("wan", error(ROUTER, out, 11, 0), "blue0")
        assert ("wan", WAN) not in [(i, p.src) for i, p in gw.wait(0)]
    gw.wait(3)
    assert not ponged(gw, out[ICMP].id)


def test_req6_errors_do_not_end_a_query_session(gw):
    out = gw.through("blue0", echo(HOST, SITE, 7), "wan")
    gw.through("wan", error(ROUTER, out, 11, 0), "blue0")
    assert ponged(gw, out[ICMP].id)


def test_req7_a_hairpinned_query_by_basic_nat(gw):
    into = gw.through("blue0", echo(HOST2, MAIL_OUTSIDE, 7), "blue0")
    assert (into.src, into.dst) == (WAN, MAIL)
    back = gw.through("blue0", echo_reply(MAIL, WAN, into[ICMP].id), "blue0")
    assert (back.src, back.dst, back[ICMP].id) == (MAIL_OUTSIDE, HOST2, 7)


def test_req7a_a_hairpinned_error_goes_to_who_sent_what_it_is_about(gw):
    into = gw.through("blue0", udp((HOST2, 5000), (MAIL_OUTSIDE, 25)), "blue0")
    told = gw.through("blue0", error(MAIL, into, 3, 3), "blue0")
    assert (told.src, told.dst) == (MAIL_OUTSIDE, HOST2)
    inner = told[IPerror]
    assert (inner.src, inner.dst, inner[UDPerror].sport, inner[UDPerror].dport) == (HOST2, MAIL_OUTSIDE, 5000, 25)


def test_req8_who_gets_no_session_is_told(gw):
    gw.document["nat"]["masquerade"]["blue-out"]["ports"] = "2000-2001"
    for port in (4000, 4001):
        gw.through("blue0", udp((HOST, port), DNS), "wan")
    sent = udp((HOST, 4002), DNS)
    told = gw.through("blue0", sent, "blue0")
    assert (told.dst, told[ICMP].type, told[ICMP].code) == (HOST, 3, 13)
    assert (told[IPerror].src, told[UDPerror].sport) == (HOST, 4002)


def test_req10a_the_gateway_speaks_icmp_of_its_own(gw):
    told = gw.through("blue0", udp((HOST, 4000), DNS, ttl=1), "blue0")
    assert (told.src, told[ICMP].type, told[ICMP].code) == ("10.1.0.1", 11, 0)
    told = gw.through("wan", udp(DNS, (WAN, 9)), "wan")
    assert (told.src, told[ICMP].type, told[ICMP].code) == (WAN, 3, 3)
    told = gw.through("blue0", udp((HOST, 4000), ("10.9.9.9", 1)), "blue0")
    assert told[ICMP].type == 3
    assert gw.through("blue0", echo(HOST, "10.1.0.1", 5), "blue0")[ICMP].type == 0
    assert gw.through("wan", echo(SITE, WAN, 5), "wan")[ICMP].type == 0


def test_req10a_unreachable_codes_pass(gw):
    out = gw.through("blue0", udp((HOST, 4000), DNS), "wan")
    for code in range(16):
        assert gw.through("wan", error(ROUTER, out, 3, code), "blue0")[ICMP].code == code


def test_req10c_what_is_obsolete_is_not_answered(gw):
    for icmp_type in (15, 10):
        gw.silent("wan", IP(src=SITE, dst=WAN) / ICMP(type=icmp_type, id=1, seq=1))


def test_req11_messages_that_are_neither_queries_nor_errors_are_translated(gw):
    for icmp_type in (9, 10):
        out = gw.through("blue0", IP(src=HOST, dst=SITE) / ICMP(type=icmp_type), "wan")
        assert (out.src, out[ICMP].type) == (WAN, icmp_type)
