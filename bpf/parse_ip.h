/*
 * Layer 3: IPv4 with options and fragments, IPv6 with its chain of extension headers.
 *
 * Lengths come from the IP header: what follows it in the frame is padding. A header
 * that contradicts itself or the frame describes nothing, and the packet counts as
 * layer 2 only.
 */
#ifndef XDPFIX_PARSE_IP_H
#define XDPFIX_PARSE_IP_H

#include "parse_eth.h"

/* IANA protocol numbers. */
enum protocol {
	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_GRE = 47,
	PROTOCOL_AUTHENTICATION = 51,
	PROTOCOL_ICMPV6 = 58,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_SCTP = 132,
	PROTOCOL_MOBILITY = 135,
	PROTOCOL_HIP = 139,
	PROTOCOL_SHIM6 = 140,
};

#define IPV4_SIZE 20
#define IPV6_SIZE 40
/* RFC 8200 section 4.1 recommends an order in which there are seven. */
#define EXTENSIONS_MAX 8
/* Most that a 16-bit length can say; longer super-packets (BIG TCP) and jumbograms say 0. */
#define LENGTH16_MAX 0xffff
/* The jumbo option that BIG TCP puts into IPv6 super-packets; segmentation takes it out again. */
#define JUMBO_SIZE 8

#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_OFFSET 0xfff8

/* Bits of enum fragment. An offset makes it a fragment, but not the first; more to come makes it one, too. */
static __always_inline __u8 fragment_bits(__u16 offset, bool more)
{
	return (offset || more ? FRAGMENT_ANY : 0) | (offset ? FRAGMENT_LATER : 0) | (more ? FRAGMENT_MORE : 0);
}

/* Octets of the IP packet where its length field cannot hold them, else 0. */
static __always_inline __u64 big_length(const struct packet *packet, __u64 available)
{
	return packet->segments > 1 || available > LENGTH16_MAX ? available : 0;
}

static __always_inline bool parse_ipv4(struct cursor *cursor, const struct packet *packet, struct sample *sample)
{
	__u64 start = cursor->position, available = cursor->limit - start;
	struct flow_key *key = &sample->key;
	__u64 header_length, total;
	const __u8 *header;
	__u16 fragment;

	if (!pull(cursor, IPV4_SIZE, &header))
		return false;
	header_length = (header[0] & 15) * 4;
	total = BE16(load16(header + 2));
	if (!total)
		total = big_length(packet, available);
	if (header[0] >> 4 != 4 || header_length < IPV4_SIZE || total < header_length || total > available) {
		*cursor->flags |= SAMPLE_MALFORMED;
		return false;
	}
	cursor->limit = start + total;
	cursor->position = start + header_length;
	cursor->protocol = header[9];

	fragment = BE16(load16(header + 6));
	sample->meta.fragment = fragment_bits(fragment & IPV4_OFFSET, fragment & IPV4_MORE_FRAGMENTS);
	if (fragment & IPV4_DONT_FRAGMENT)
		sample->meta.fragment |= FRAGMENT_DONT;

	key->ip_version = 4;
	key->ip_tos = header[1];
	key->ip_ttl = header[8];
	copy32(key->src_addr, header + 12);
	copy32(key->dst_addr, header + 16);
	sample->meta.ip_octets = total;
	return true;
}

static __always_inline bool is_extension(__u8 protocol)
{
	switch (protocol) {
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_FRAGMENT:
	case PROTOCOL_AUTHENTICATION:
	case PROTOCOL_DESTINATION:
	case PROTOCOL_MOBILITY:
	case PROTOCOL_HIP:
	case PROTOCOL_SHIM6:
		return true;
	default:
		return false;
	}
}

/* One extension header of IPv6: RFC 8200 section 4, AH by RFC 4302 section 2.2. */
static __always_inline bool parse_extension(struct cursor *cursor, struct sample *sample)
{
	__u64 start = cursor->position, length;
	const __u8 *header;
	__u16 fragment;

	/* All are 8 octets or more. */
	if (!pull(cursor, 8, &header))
		return false;
	if (cursor->protocol == PROTOCOL_FRAGMENT) {
		fragment = BE16(load16(header + 2));
		/* Neither offset nor more to come: an atomic fragment is whole (RFC 6946). */
		sample->meta.fragment |= fragment_bits(fragment & IPV6_OFFSET, fragment & IPV6_MORE_FRAGMENTS);
		length = 8;
	} else if (cursor->protocol == PROTOCOL_AUTHENTICATION) {
		length = (header[1] + 2) * 4;
	} else {
		length = (header[1] + 1) * 8;
	}
	cursor->position = start;
	if (!skip(cursor, length))
		return false;
	cursor->protocol = header[0];
	return true;
}

/* The chain up to the first header that is no extension. Behind a later fragment's there is only payload. */
static __always_inline bool parse_extensions(struct cursor *cursor, struct sample *sample)
{
	__u32 count;

	UNROLL
	for (count = 0; count < EXTENSIONS_MAX; count++) {
		if (!is_extension(cursor->protocol) || sample->meta.fragment & FRAGMENT_LATER)
			return true;
		if (!parse_extension(cursor, sample))
			return false;
		cursor->position = forget(cursor, cursor->position);
	}
	if (!is_extension(cursor->protocol) || sample->meta.fragment & FRAGMENT_LATER)
		return true;
	*cursor->flags |= SAMPLE_CHAIN;
	return false;
}

static __always_inline bool parse_ipv6(struct cursor *cursor, const struct packet *packet, struct sample *sample)
{
	__u64 start = cursor->position, available = cursor->limit - start, total;
	struct flow_key *key = &sample->key;
	const __u8 *header;
	__u32 word;

	if (!pull(cursor, IPV6_SIZE, &header))
		return false;
	total = IPV6_SIZE + BE16(load16(header + 4));
	if (total == IPV6_SIZE && big_length(packet, available)) {
		total = available;
		if (packet->segments > 1 && header[6] == PROTOCOL_HOP_BY_HOP)
			cursor->unsent = JUMBO_SIZE;
	}
	cursor->unsent = forget(cursor, cursor->unsent);
	total = forget(cursor, total);
	if (header[0] >> 4 != 6 || total > available) {
		*cursor->flags |= SAMPLE_MALFORMED;
		return false;
	}
	cursor->limit = start + total;
	cursor->protocol = header[6];

	word = BE32(load32(header));
	key->ip_version = 6;
	key->ip_tos = word >> 20;
	key->flow_label = BE32(word & 0xfffff);
	key->ip_ttl = header[7];
	copy64(key->src_addr, header + 8);
	copy64(key->src_addr + 8, header + 16);
	copy64(key->dst_addr, header + 24);
	copy64(key->dst_addr + 8, header + 32);
	sample->meta.ip_octets = total;
	return true;
}

/* All of layer 3, where there is an IP packet. The cursor stands on layer 4 with its protocol. */
static __always_inline bool parse_layer3(struct cursor *cursor, const struct packet *packet, struct sample *sample)
{
	bool found;

	if (cursor->ethertype == BE16(ETHERTYPE_IPV4))
		return parse_ipv4(cursor, packet, sample);
	if (cursor->ethertype != BE16(ETHERTYPE_IPV6))
		return false;
	if (!parse_ipv6(cursor, packet, sample))
		return false;
	found = parse_extensions(cursor, sample);
	return found;
}

#endif
