/* What a rule does to a packet. Checksums follow each change (RFC 1624, equation 3), as in a card that does not look at
 * the payload. */
#include <stddef.h>
#include <string.h>

#include "card.h"

static bool sum_is_right(const uint8_t *header, size_t size)
{
	uint32_t sum = 0;
	size_t n;

	for (n = 0; n < size; n += 2)
		sum += (uint32_t)header[n] << 8 | header[n + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static bool parse_l4(const uint8_t *frame, uint32_t length, uint16_t at, uint8_t protocol,
                     struct card_headers *headers, struct card_offsets *offsets)
{
	if (protocol == IPPROTO_TCP && length >= at + sizeof(struct rte_tcp_hdr)) {
		memcpy(&headers->tcp, frame + at, sizeof(headers->tcp));
		headers->layers |= LAYER_TCP;
		offsets->l4 = at;
	} else if (protocol == IPPROTO_UDP && length >= at + sizeof(struct rte_udp_hdr)) {
		memcpy(&headers->udp, frame + at, sizeof(headers->udp));
		headers->layers |= LAYER_UDP;
		offsets->l4 = at;
	}
	return true;
}

bool card_parse(uint16_t port, const uint8_t *frame, uint32_t length, struct card_headers *headers,
                struct card_offsets *offsets)
{
	const uint16_t ip = sizeof(struct rte_ether_hdr);

	memset(headers, 0, sizeof(*headers));
	memset(offsets, 0, sizeof(*offsets));
	headers->port = port;
	if (length < ip)
		return false;
	memcpy(&headers->ether, frame, ip);
	headers->layers = LAYER_ETHER;
	offsets->ip = ip;
	if (headers->ether.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
	    length >= ip + sizeof(struct rte_ipv4_hdr)) {
		uint16_t header;

		memcpy(&headers->ipv4, frame + ip, sizeof(headers->ipv4));
		header = (headers->ipv4.version_ihl & 15) * 4;
		if (headers->ipv4.version_ihl >> 4 != 4 || header < sizeof(struct rte_ipv4_hdr))
			return true;
		headers->layers |= LAYER_IPV4;
		headers->integrity.ipv4_csum_ok =
			length >= (uint32_t)(ip + header) && sum_is_right(frame + ip, header);
		headers->integrity.l3_len_ok = rte_be_to_cpu_16(headers->ipv4.total_length) <= length - ip;
		/* Only a first fragment has ports. */
		if (headers->ipv4.fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK))
			return true;
		return parse_l4(frame, length, ip + header, headers->ipv4.next_proto_id, headers, offsets);
	}
	if (headers->ether.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) &&
	    length >= ip + sizeof(struct rte_ipv6_hdr)) {
		memcpy(&headers->ipv6, frame + ip, sizeof(headers->ipv6));
		headers->layers |= LAYER_IPV6;
		headers->integrity.l3_len_ok =
			rte_be_to_cpu_16(headers->ipv6.payload_len) + sizeof(struct rte_ipv6_hdr) <= length - ip;
		return parse_l4(frame, length, ip + sizeof(struct rte_ipv6_hdr), headers->ipv6.proto, headers,
		                offsets);
	}
	return true;
}

bool card_matches(const struct card_rule *rule, const struct card_headers *headers)
{
	const uint8_t *packet = (const uint8_t *)headers, *spec = (const uint8_t *)&rule->spec;
	const uint8_t *mask = (const uint8_t *)&rule->mask;
	size_t n;

	if ((headers->layers & rule->mask.layers) != rule->mask.layers)
		return false;
	for (n = 0; n < sizeof(*headers); n++) {
		if (n - offsetof(struct card_headers, layers) < sizeof(headers->layers))
			continue;
		if ((packet[n] ^ spec[n]) & mask[n])
			return false;
	}
	return true;
}

/* The checksum after the bytes at `old` (an even number, at an even place) became those at `new`. */
static uint16_t follow(uint16_t checksum, const uint8_t *old, const uint8_t *new, size_t size)
{
	uint32_t sum = (uint16_t)~rte_be_to_cpu_16(checksum);
	size_t n;

	for (n = 0; n < size; n += 2) {
		sum += (uint16_t)~(old[n] << 8 | old[n + 1]);
		sum += (uint16_t)(new[n] << 8 | new[n + 1]);
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return rte_cpu_to_be_16((uint16_t)~sum);
}

static void follow_l4(uint8_t *frame, const struct card_headers *headers, uint16_t at, const uint8_t *old,
                      const uint8_t *new, size_t size)
{
	if (headers->layers & LAYER_TCP) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(frame + at);

		tcp->cksum = follow(tcp->cksum, old, new, size);
	} else if (headers->layers & LAYER_UDP) {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(frame + at);

		/* 0 is none; what comes out as 0 is written as its other form (RFC 768). */
		if (udp->dgram_cksum == 0)
			return;
		udp->dgram_cksum = follow(udp->dgram_cksum, old, new, size);
		if (udp->dgram_cksum == 0)
			udp->dgram_cksum = 0xffff;
	}
}

static void set(uint8_t *frame, const struct card_headers *headers, const struct card_offsets *offsets,
                uint16_t at, const void *value, size_t size)
{
	uint8_t old[16];

	memcpy(old, frame + at, size);
	memcpy(frame + at, value, size);
	if (headers->layers & LAYER_IPV4 && at < offsets->ip + sizeof(struct rte_ipv4_hdr)) {
		struct rte_ipv4_hdr *ipv4 = (struct rte_ipv4_hdr *)(frame + offsets->ip);

		ipv4->hdr_checksum = follow(ipv4->hdr_checksum, old, value, size);
	}
	if (offsets->l4 != 0)
		follow_l4(frame, headers, offsets->l4, old, value, size);
}

static void decrement(uint8_t *frame, const struct card_headers *headers, const struct card_offsets *offsets)
{
	if (headers->layers & LAYER_IPV4) {
		struct rte_ipv4_hdr *ipv4 = (struct rte_ipv4_hdr *)(frame + offsets->ip);
		uint8_t old[2] = { ipv4->time_to_live, ipv4->next_proto_id }, new[2];

		ipv4->time_to_live--;
		new[0] = ipv4->time_to_live;
		new[1] = ipv4->next_proto_id;
		ipv4->hdr_checksum = follow(ipv4->hdr_checksum, old, new, 2);
	} else if (headers->layers & LAYER_IPV6) {
		((struct rte_ipv6_hdr *)(frame + offsets->ip))->hop_limits--;
	}
}

void card_rewrite(const struct card_rule *rule, uint8_t *frame, const struct card_headers *headers,
                  const struct card_offsets *offsets)
{
	uint8_t n;

	for (n = 0; n < rule->action_count; n++) {
		const struct card_action *action = &rule->actions[n];

		switch (action->type) {
		case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
			memcpy(frame, action->conf.mac.mac_addr, 6);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
			memcpy(frame + 6, action->conf.mac.mac_addr, 6);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
			set(frame, headers, offsets, offsets->ip + offsetof(struct rte_ipv4_hdr, src_addr),
			    &action->conf.ipv4.ipv4_addr, 4);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
			set(frame, headers, offsets, offsets->ip + offsetof(struct rte_ipv4_hdr, dst_addr),
			    &action->conf.ipv4.ipv4_addr, 4);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
			set(frame, headers, offsets, offsets->ip + offsetof(struct rte_ipv6_hdr, src_addr),
			    action->conf.ipv6.ipv6_addr, 16);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
			set(frame, headers, offsets, offsets->ip + offsetof(struct rte_ipv6_hdr, dst_addr),
			    action->conf.ipv6.ipv6_addr, 16);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
			set(frame, headers, offsets, offsets->l4, &action->conf.tp.port, 2);
			break;
		case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
			set(frame, headers, offsets, offsets->l4 + 2, &action->conf.tp.port, 2);
			break;
		case RTE_FLOW_ACTION_TYPE_DEC_TTL:
			decrement(frame, headers, offsets);
			break;
		default:
			break;
		}
	}
}

/* The same for both directions of a flow, as a card with a symmetric key spreads. */
uint32_t card_spread(const struct card_headers *headers)
{
	uint32_t hash = 0;
	size_t n;

	if (headers->layers & LAYER_IPV4)
		hash = headers->ipv4.src_addr ^ headers->ipv4.dst_addr;
	if (headers->layers & LAYER_IPV6)
		for (n = 0; n < 16; n++)
			hash = (hash << 1 | hash >> 31) ^ headers->ipv6.src_addr[n] ^ headers->ipv6.dst_addr[n];
	if (headers->layers & LAYER_TCP)
		hash ^= headers->tcp.src_port ^ headers->tcp.dst_port;
	if (headers->layers & LAYER_UDP)
		hash ^= headers->udp.src_port ^ headers->udp.dst_port;
	return (hash * 2654435761u) >> 16;
}
