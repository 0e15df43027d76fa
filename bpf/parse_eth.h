/*
 * Layer 2: Ethernet II, 802.2 LLC/SNAP, VLAN tags in the frame and beside it, MPLS.
 */
#ifndef XDPFIX_PARSE_ETH_H
#define XDPFIX_PARSE_ETH_H

#include "cursor.h"

/* IEEE 802 ethertypes. */
enum ethertype {
	ETHERTYPE_NONE = 0x05ff,	/* an 802.3 length is no type: one value for all, as in OVS */
	ETHERTYPE_MIN = 0x0600,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_MPLS = 0x8847,
	ETHERTYPE_MPLS_UPSTREAM = 0x8848,	/* RFC 5332: upstream-assigned labels */
	ETHERTYPE_SERVICE_VLAN = 0x88a8,
};

#define ETHERNET_SIZE 14
#define VLAN_SIZE 4
#define VLAN_MAX 2
#define MPLS_SIZE 4
#define MPLS_MAX 8
#define SNAP_SIZE 8

static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == BE16(ETHERTYPE_VLAN) || ethertype == BE16(ETHERTYPE_SERVICE_VLAN);
}

static __always_inline bool is_mpls(__be16 ethertype)
{
	return ethertype == BE16(ETHERTYPE_MPLS) || ethertype == BE16(ETHERTYPE_MPLS_UPSTREAM);
}

/* IEEE 802.3 length in place of a type: a SNAP header with OUI 0 names the type (RFC 1042). */
static __always_inline void parse_llc(struct cursor *cursor)
{
	struct cursor ahead = *cursor;
	__u8 ignored = 0;
	const __u8 *snap;

	cursor->ethertype = BE16(ETHERTYPE_NONE);
	ahead.flags = &ignored;
	if (!pull(&ahead, SNAP_SIZE, &snap))
		return;
	if (load32(snap) != BE32(0xaaaa0300) || load16(snap + 4))
		return;
	if (BE16(load16(snap + 6)) < ETHERTYPE_MIN)
		return;
	cursor->position = ahead.position;
	cursor->ethertype = load16(snap + 6);
}

static __always_inline bool parse_ethernet(struct cursor *cursor, struct flow_key *key)
{
	const __u8 *header;

	if (!pull(cursor, ETHERNET_SIZE, &header))
		return false;
	copy32(key->dst_mac, header);
	copy16(key->dst_mac + 4, header + 4);
	copy32(key->src_mac, header + 6);
	copy16(key->src_mac + 4, header + 10);
	cursor->ethertype = load16(header + 12);
	key->ethernet_header_length += ETHERNET_SIZE;
	return true;
}

/* One tag, where there is one and the key has room for it. */
static __always_inline bool parse_vlan(struct cursor *cursor, struct flow_key *key)
{
	const __u8 *tag;

	if (!is_vlan(cursor->ethertype))
		return true;
	if (key->vlan_count == VLAN_MAX) {
		*cursor->flags |= SAMPLE_CHAIN;
		return true;
	}
	if (!pull(cursor, VLAN_SIZE, &tag))
		return false;
	/* The count is 0 or 1 here; an index would be one more bound to prove. */
	if (key->vlan_count)
		key->vlan_tci[1] = load16(tag);
	else
		key->vlan_tci[0] = load16(tag);
	key->vlan_count++;
	key->ethernet_header_length += VLAN_SIZE;
	cursor->ethertype = load16(tag + 2);
	return true;
}

/* The IP version behind a header that does not tell: the first four bits do. */
static __always_inline void guess_ethertype(struct cursor *cursor)
{
	struct cursor ahead = *cursor;
	__u8 ignored = 0;
	const __u8 *first;

	ahead.flags = &ignored;
	if (!pull(&ahead, 1, &first))
		return;
	if (*first >> 4 == 4)
		cursor->ethertype = BE16(ETHERTYPE_IPV4);
	else if (*first >> 4 == 6)
		cursor->ethertype = BE16(ETHERTYPE_IPV6);
}

/* RFC 3032 label stack. The ethertype behind it is IPv4 or IPv6 by the first nibble, else MPLS still. */
static __always_inline bool parse_mpls(struct cursor *cursor, struct flow_key *key)
{
	const __u8 *entry;
	__u32 depth;

	if (!is_mpls(cursor->ethertype))
		return true;
	UNROLL
	for (depth = 0; depth < MPLS_MAX; depth++) {
		if (!pull(cursor, MPLS_SIZE, &entry))
			return false;
		if (depth == 0)
			key->mpls_label = load32(entry);
		cursor->position = forget(cursor, cursor->position);
		if (entry[2] & 1) {
			guess_ethertype(cursor);
			cursor->ethertype = forget(cursor, cursor->ethertype);
			return true;
		}
	}
	*cursor->flags |= SAMPLE_CHAIN;
	return false;
}

/* All of layer 2. The cursor stands on layer 3 with its ethertype. */
static __always_inline bool parse_layer2(struct cursor *cursor, const struct packet *packet, struct flow_key *key)
{
	if (packet->vlan_present) {
		key->vlan_tci[0] = packet->vlan_tci;
		key->vlan_count = 1;
		key->ethernet_header_length = VLAN_SIZE;
	}
	if (packet->l3) {
		cursor->ethertype = packet->protocol;
		if (!is_mpls(cursor->ethertype))
			guess_ethertype(cursor);
	} else {
		if (!parse_ethernet(cursor, key))
			return false;
		if (!parse_vlan(cursor, key) || !parse_vlan(cursor, key) || !parse_vlan(cursor, key)) {
			/* The tag that is cut off is the last type there is, as in OVS. */
			key->ethertype = cursor->ethertype;
			return false;
		}
		if (BE16(cursor->ethertype) < ETHERTYPE_MIN)
			parse_llc(cursor);
	}
	cursor->position = forget(cursor, cursor->position);
	cursor->ethertype = forget(cursor, cursor->ethertype);
	key->ethertype = cursor->ethertype;
	return parse_mpls(cursor, key);
}

#endif
