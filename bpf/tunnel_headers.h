/*
 * The headers of tunnels: VXLAN, Geneve, LISP and STT behind UDP or TCP, GRE behind IP. Each
 * function stands on one, reads key and payload type, and stands behind it or says what misses.
 */
#ifndef XDPFIX_TUNNEL_HEADERS_H
#define XDPFIX_TUNNEL_HEADERS_H

#include "parse_l4.h"

/* Ethertype of Ethernet itself: Transparent Ethernet Bridging. */
#define ETHERTYPE_TEB 0x6558
#define ETHERTYPE_ERSPAN 0x88be	/* types I and II */
#define ETHERTYPE_ERSPAN_III 0x22eb

/* RFC 7348 section 5; the bits of draft-ietf-nvo3-vxlan-gpe section 3 mean something where P is set. */
#define VXLAN_SIZE 8
#define VXLAN_I 0x08
#define VXLAN_GPE_VERSION 0x30
#define VXLAN_GPE_P 0x04
#define VXLAN_GPE_O 0x01
#define VXLAN_GPE_IPV4 1
#define VXLAN_GPE_IPV6 2
#define VXLAN_GPE_ETHERNET 3

/* RFC 8926 section 3.4. */
#define GENEVE_SIZE 8
#define GENEVE_VERSION 0xc0
#define GENEVE_OPTIONS 0x3f	/* words */
#define GENEVE_CONTROL 0x80

/* RFC 2784 and 2890; routing is RFC 1701's, which nobody follows. */
#define GRE_SIZE 4
#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION 0x0007
#define GRE_KEY_LENGTH 4

/* draft-foschiano-erspan: type II has a header where GRE has a sequence number, type I none. */
#define ERSPAN_II_SIZE 8
#define ERSPAN_III_SIZE 12
#define ERSPAN_III_PLATFORM_SIZE 8
#define ERSPAN_SESSION 0x03ff
#define ERSPAN_III_FRAME_TYPE 0x7c	/* of octet 10; 0: Ethernet */
#define ERSPAN_KEY_LENGTH 2

/* RFC 9300 section 5.3. P is RFC 9305's, which puts other payloads in, KK is RFC 8061's: the payload is encrypted. */
#define LISP_SIZE 8
#define LISP_NONCE 0x80
#define LISP_MAP_VERSION 0x10
#define LISP_INSTANCE 0x08
#define LISP_OTHER_PAYLOAD 0x04
#define LISP_ENCRYPTED 0x03

/* draft-davie-stt section 3: sequence number = frame length << 16 | offset; the frame begins with this header. */
#define STT_SIZE 18
#define STT_TAG_PRESENT 0x1000
#define STT_KEY_LENGTH 8
/* Of TCP's data offset and flags: STT has no options, and neither begins nor ends a connection. */
#define STT_TCP_MASK 0xf017
#define STT_TCP 0x5010	/* 20 octets, ACK */

#define VNI_LENGTH 3

/* Notes a key of 24 bits that stand in front of an octet of something else. */
static __always_inline void set_vni(struct inner *inner, const __u8 *word)
{
	inner->key = BE64((__u64)(BE32(load32(word)) >> 8));
	inner->key_length = VNI_LENGTH;
}

static __always_inline enum tunnel_miss parse_vxlan(struct cursor *cursor, struct inner *inner)
{
	const __u8 *header;

	if (!pull(cursor, VXLAN_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	if (!(header[0] & VXLAN_I))
		return TUNNEL_MISS_HEADER;
	set_vni(inner, header + 4);
	inner->packet.protocol = BE16(ETHERTYPE_TEB);
	/* Without P these bits are reserved, and ignored on receipt. */
	if (!(header[0] & VXLAN_GPE_P))
		return TUNNEL_MISS_NONE;
	if (header[0] & VXLAN_GPE_VERSION)
		return TUNNEL_MISS_HEADER;
	if (header[0] & VXLAN_GPE_O)
		return TUNNEL_MISS_PAYLOAD;
	if (header[3] == VXLAN_GPE_IPV4)
		inner->packet.protocol = BE16(ETHERTYPE_IPV4);
	else if (header[3] == VXLAN_GPE_IPV6)
		inner->packet.protocol = BE16(ETHERTYPE_IPV6);
	else if (header[3] != VXLAN_GPE_ETHERNET)
		return TUNNEL_MISS_PAYLOAD;
	return TUNNEL_MISS_NONE;
}

static __always_inline enum tunnel_miss parse_geneve(struct cursor *cursor, struct inner *inner)
{
	const __u8 *header;

	if (!pull(cursor, GENEVE_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	if (header[0] & GENEVE_VERSION)
		return TUNNEL_MISS_HEADER;
	if (header[1] & GENEVE_CONTROL)
		return TUNNEL_MISS_PAYLOAD;
	set_vni(inner, header + 4);
	inner->packet.protocol = load16(header + 2);
	return skip(cursor, (header[0] & GENEVE_OPTIONS) * 4) ? TUNNEL_MISS_NONE : TUNNEL_MISS_SHORT;
}

/* Behind GRE's header: the mirrored frame, and the session it belongs to as key, as Linux's erspan netdev has it. */
static __always_inline enum tunnel_miss parse_erspan(struct cursor *cursor, struct inner *inner, bool sequence)
{
	bool third = inner->packet.protocol == BE16(ETHERTYPE_ERSPAN_III);
	const __u8 *header;

	inner->key = 0;
	inner->key_length = ERSPAN_KEY_LENGTH;
	inner->packet.protocol = BE16(ETHERTYPE_TEB);
	if (!third && !sequence)
		return TUNNEL_MISS_NONE;
	if (!pull(cursor, third ? ERSPAN_III_SIZE : ERSPAN_II_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	if (header[0] >> 4 != (third ? 2 : 1))
		return TUNNEL_MISS_HEADER;
	inner->key = BE64((__u64)(BE16(load16(header + 2)) & ERSPAN_SESSION));
	if (third && header[10] & ERSPAN_III_FRAME_TYPE)
		return TUNNEL_MISS_PAYLOAD;
	if (third && header[11] & 1 && !skip(cursor, ERSPAN_III_PLATFORM_SIZE))
		return TUNNEL_MISS_SHORT;
	return TUNNEL_MISS_NONE;
}

static __always_inline enum tunnel_miss parse_gre(struct cursor *cursor, struct inner *inner)
{
	const __u8 *header;
	__u16 flags;

	if (!pull(cursor, GRE_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	flags = BE16(load16(header));
	if (flags & (GRE_ROUTING | GRE_VERSION))
		return TUNNEL_MISS_HEADER;
	inner->packet.protocol = load16(header + 2);
	inner->key_length = GRE_KEY_LENGTH;
	if (flags & GRE_CHECKSUM && !skip(cursor, 4))
		return TUNNEL_MISS_SHORT;
	cursor->position = forget(cursor, cursor->position);
	if (flags & GRE_KEY) {
		if (!pull(cursor, GRE_KEY_LENGTH, &header))
			return TUNNEL_MISS_SHORT;
		inner->key = BE64((__u64)BE32(load32(header)));
	}
	cursor->position = forget(cursor, cursor->position);
	if (flags & GRE_SEQUENCE && !skip(cursor, 4))
		return TUNNEL_MISS_SHORT;
	cursor->position = forget(cursor, cursor->position);
	if (inner->packet.protocol == BE16(ETHERTYPE_ERSPAN) || inner->packet.protocol == BE16(ETHERTYPE_ERSPAN_III))
		return parse_erspan(cursor, inner, flags & GRE_SEQUENCE);
	return TUNNEL_MISS_NONE;
}

static __always_inline enum tunnel_miss parse_lisp(struct cursor *cursor, struct inner *inner)
{
	const __u8 *header, *first;
	struct cursor ahead;

	if (!pull(cursor, LISP_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	if (header[0] & LISP_NONCE && header[0] & LISP_MAP_VERSION)
		return TUNNEL_MISS_HEADER;
	if (header[0] & (LISP_OTHER_PAYLOAD | LISP_ENCRYPTED))
		return TUNNEL_MISS_PAYLOAD;
	inner->key_length = VNI_LENGTH;
	if (header[0] & LISP_INSTANCE)
		set_vni(inner, header + 4);
	/* Nothing but the packet's own version says what it is. */
	ahead = *cursor;
	if (!pull(&ahead, 1, &first))
		return TUNNEL_MISS_SHORT;
	inner->packet.protocol = *first >> 4 == 6 ? BE16(ETHERTYPE_IPV6) : BE16(ETHERTYPE_IPV4);
	return TUNNEL_MISS_NONE;
}

/*
 * The cursor stands behind the TCP header. A frame is cut into segments; only the first
 * has the STT header. In a super-packet they are together again.
 */
static __always_inline enum tunnel_miss parse_stt(struct cursor *cursor, struct inner *inner)
{
	__u64 payload = cursor->limit - cursor->position, total, behind = cursor->position;
	const __u8 *header;
	__u16 tag;

	cursor->position = forget(cursor, cursor->layer4);
	if (!pull(cursor, TCP_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	cursor->position = forget(cursor, behind);
	if ((BE16(load16(header + 12)) & STT_TCP_MASK) != STT_TCP)
		return TUNNEL_MISS_HEADER;
	total = BE16(load16(header + 4));
	if (load16(header + 6))
		return TUNNEL_MISS_SEGMENT;
	if (total < STT_SIZE || payload > total)
		return TUNNEL_MISS_HEADER;
	if (!pull(cursor, STT_SIZE, &header))
		return TUNNEL_MISS_SHORT;
	if (header[0])
		return TUNNEL_MISS_HEADER;
	tag = BE16(load16(header + 6));
	if (tag & STT_TAG_PRESENT) {
		inner->packet.vlan_present = 1;
		inner->packet.vlan_tci = BE16(tag & ~STT_TAG_PRESENT);
	}
	inner->key = load64(header + 8);
	inner->key_length = STT_KEY_LENGTH;
	inner->packet.protocol = BE16(ETHERTYPE_TEB);
	inner->packet.length = total - STT_SIZE;
	return TUNNEL_MISS_NONE;
}

#endif
