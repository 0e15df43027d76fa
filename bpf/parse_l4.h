/*
 * Layer 4: ports of TCP, UDP and SCTP, type and code of ICMP, and TCP's flags.
 *
 * A header shorter than its protocol's smallest one gives no ports, as in OVS.
 */
#ifndef XDPFIX_PARSE_L4_H
#define XDPFIX_PARSE_L4_H

#include "parse_ip.h"

#define TCP_SIZE 20
#define UDP_SIZE 8
#define SCTP_SIZE 12
#define ICMP_SIZE 8
#define ICMPV6_SIZE 4
#define TCP_FLAGS 0x0fff

static __always_inline void set_ports(struct flow_key *key, const __u8 *header)
{
	key->src_port = load16(header);
	key->dst_port = load16(header + 2);
}

static __always_inline bool parse_tcp(struct cursor *cursor, struct sample *sample)
{
	const __u8 *header;
	__u64 length;

	if (!pull(cursor, TCP_SIZE, &header))
		return false;
	set_ports(&sample->key, header);
	sample->meta.tcp_flags = BE16(load16(header + 12)) & TCP_FLAGS;
	/* Options count as header in each segment; a bad offset changes nothing else. */
	length = (header[12] >> 4) * 4;
	if (length > TCP_SIZE && cursor->position - TCP_SIZE + length <= cursor->limit)
		cursor->position += length - TCP_SIZE;
	return true;
}

static __always_inline bool parse_udp(struct cursor *cursor, struct sample *sample)
{
	const __u8 *header;

	if (!pull(cursor, UDP_SIZE, &header))
		return false;
	set_ports(&sample->key, header);
	return true;
}

static __always_inline bool parse_sctp(struct cursor *cursor, struct sample *sample)
{
	const __u8 *header;

	if (!pull(cursor, SCTP_SIZE, &header))
		return false;
	set_ports(&sample->key, header);
	return true;
}

static __always_inline bool parse_icmp(struct cursor *cursor, struct sample *sample, __u64 size)
{
	const __u8 *header;

	if (!pull(cursor, size, &header))
		return false;
	sample->key.src_port = BE16(header[0]);
	sample->key.dst_port = BE16(header[1]);
	return true;
}

/* Layer 4, where it is known and in this packet. The cursor stands behind it. */
static __always_inline bool parse_layer4(struct cursor *cursor, struct sample *sample)
{
	sample->key.ip_protocol = cursor->protocol;
	cursor->position = forget(cursor, cursor->position);
	cursor->limit = forget(cursor, cursor->limit);
	cursor->layer4 = cursor->position;
	if (sample->meta.fragment & FRAGMENT_LATER)
		return false;
	if (cursor->protocol == PROTOCOL_TCP)
		return parse_tcp(cursor, sample);
	if (cursor->protocol == PROTOCOL_UDP)
		return parse_udp(cursor, sample);
	if (cursor->protocol == PROTOCOL_SCTP)
		return parse_sctp(cursor, sample);
	if (cursor->protocol == PROTOCOL_ICMP && sample->key.ip_version == 4)
		return parse_icmp(cursor, sample, ICMP_SIZE);
	if (cursor->protocol == PROTOCOL_ICMPV6 && sample->key.ip_version == 6)
		return parse_icmp(cursor, sample, ICMPV6_SIZE);
	return false;
}

#endif
