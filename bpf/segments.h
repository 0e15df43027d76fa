/*
 * How many wire packets an skb stands for. The gate asks before anything is parsed, so this
 * reads the skb's own count, and headers only where the kernel has not counted yet.
 *
 * They are read into a place of the window: what they would leave on the stack is one more
 * state of everything behind to the verifier, and doubled its work.
 */
#ifndef XDPFIX_SEGMENTS_H
#define XDPFIX_SEGMENTS_H

#include "maps.h"
#include "parse_tunnel.h"

/* First octets of an IPv4 or IPv6 header: up to the protocol field of either. */
#define IP_PROTOCOL_SIZE 10
/* Where TCP's data offset is. */
#define TCP_OFFSET 12

/* A header in an skb whose headers nobody has parsed yet. */
struct walk {
	__u32 position;
	__be16 ethertype;	/* of the header there, in layer 2 and 3 */
	__u8 protocol;	/* of the header there, in layer 4 */
};

/* From behind Ethernet to layer 4. False where nothing could be loaded. IPv6's extension headers are not followed. */
static __always_inline bool walk_network(const struct __sk_buff *skb, __u8 *header, struct walk *walk)
{
	__u32 tag;

	UNROLL
	for (tag = 0; tag < VLAN_MAX; tag++) {
		if (!is_vlan(walk->ethertype))
			break;
		if (bpf_skb_load_bytes(skb, walk->position, header, VLAN_SIZE))
			return false;
		walk->ethertype = load16(header + 2);
		walk->position += VLAN_SIZE;
	}
	if (bpf_skb_load_bytes(skb, walk->position, header, IP_PROTOCOL_SIZE))
		return false;
	if (header[0] >> 4 == 4) {
		walk->protocol = header[9];
		walk->position += (header[0] & 15) * 4;
	} else {
		walk->protocol = header[6];
		walk->position += IPV6_SIZE;
	}
	return true;
}

/* Behind GRE's header; its payload is in walk->ethertype. */
static __always_inline bool walk_gre(const struct __sk_buff *skb, __u8 *header, struct walk *walk)
{
	__u16 flags;

	if (bpf_skb_load_bytes(skb, walk->position, header, GRE_SIZE))
		return false;
	flags = BE16(load16(header));
	if (flags & (GRE_ROUTING | GRE_VERSION))
		return false;
	walk->position += GRE_SIZE + 4 * (!!(flags & GRE_CHECKSUM) + !!(flags & GRE_KEY) + !!(flags & GRE_SEQUENCE));
	walk->ethertype = load16(header + 2);
	return true;
}

/* Behind the header of a tunnel over UDP; its payload is in walk->ethertype. */
static __always_inline bool walk_udp_tunnel(const struct __sk_buff *skb, __u8 *header, struct walk *walk)
{
	const __u8 *tunnel = header + UDP_SIZE;
	bool ethernet;
	__u8 type;

	if (bpf_skb_load_bytes(skb, walk->position, header, UDP_SIZE + GENEVE_SIZE))
		return false;
	type = port_tunnel(0, header[2] << 8 | header[3]) & ~PORT_STT;
	if (!type)
		return false;
	walk->position += UDP_SIZE + GENEVE_SIZE;
	if (type == TUNNEL_GENEVE) {
		walk->position += (tunnel[0] & GENEVE_OPTIONS) * 4;
		walk->ethertype = load16(tunnel + 2);
	} else {
		/* Without Ethernet the version tells IPv4 from IPv6. */
		ethernet = type == TUNNEL_VXLAN && (!(tunnel[0] & VXLAN_GPE_P) || tunnel[3] == VXLAN_GPE_ETHERNET);
		walk->ethertype = ethernet ? BE16(ETHERTYPE_TEB) : 0;
	}
	return true;
}

/* From layer 4 into a tunnel, to the layer 4 of what it carries. False, and nothing changed, where there is none. */
static __always_inline bool walk_tunnel(const struct __sk_buff *skb, __u8 *header, struct walk *walk)
{
	struct walk ahead = *walk;

	if (ahead.protocol == PROTOCOL_GRE) {
		if (!walk_gre(skb, header, &ahead))
			return false;
	} else if (ahead.protocol != PROTOCOL_UDP || !walk_udp_tunnel(skb, header, &ahead)) {
		return false;
	}
	if (ahead.ethertype == BE16(ETHERTYPE_TEB)) {
		if (bpf_skb_load_bytes(skb, ahead.position + ETHERNET_SIZE - 2, header, sizeof(ahead.ethertype)))
			return false;
		ahead.ethertype = load16(header);
		ahead.position += ETHERNET_SIZE;
	}
	if (!walk_network(skb, header, &ahead))
		return false;
	*walk = ahead;
	return true;
}

/* Octets in front of the innermost layer 4 payload: what each segment has of its own. */
static __always_inline __u32 segment_headers(const struct __sk_buff *skb, __u8 *header, bool l3)
{
	struct walk walk = { .position = l3 ? 0 : ETHERNET_SIZE, .ethertype = skb->protocol };

	if (!walk_network(skb, header, &walk))
		return walk.position;
	walk_tunnel(skb, header, &walk);
	if (walk.protocol != PROTOCOL_TCP)
		return walk.position + UDP_SIZE;
	if (bpf_skb_load_bytes(skb, walk.position + TCP_OFFSET, header, 1))
		return walk.position + TCP_SIZE;
	return walk.position + (header[0] >> 4) * 4;
}

/*
 * From a guest (tap, packet socket) comes a segment size whose count the kernel leaves 0
 * until it segments; so it is reckoned here, as the kernel does for its queues.
 */
static __always_inline __u32 skb_segments(const struct __sk_buff *skb, bool l3)
{
	__u32 segments = skb->gso_segs, size, headers, zero = 0;
	struct window *window;

	if (segments)
		return segments;
	size = skb->gso_size;
	if (!size)
		return 1;
	window = bpf_map_lookup_elem(MAP(windows), &zero);
	if (!window)
		return 1;
	headers = segment_headers(skb, window->header, l3);
	if (skb->len <= headers + size)
		return 1;
	return (skb->len - headers + size - 1) / size;
}

#endif
