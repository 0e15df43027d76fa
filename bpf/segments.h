/*
 * How many wire packets an skb stands for. The gate asks before anything is parsed, so this
 * reads the skb's own count, and headers only where the kernel has not counted yet.
 */
#ifndef XDPFIX_SEGMENTS_H
#define XDPFIX_SEGMENTS_H

#include "maps.h"
#include "parse_l4.h"

/* First octets of an IPv4 or IPv6 header: up to the protocol field of either. */
#define IP_PROTOCOL_SIZE 10
/* Where TCP's data offset is. */
#define TCP_OFFSET 12

/* Octets in front of the layer 4 payload: what each segment has of its own. Extension headers of IPv6 are not followed. */
static __always_inline __u32 segment_headers(const struct __sk_buff *skb, bool l3)
{
	__u32 position = l3 ? 0 : ETHERNET_SIZE, tag;
	__be16 ethertype = skb->protocol;
	__u8 header[IP_PROTOCOL_SIZE] = {}, protocol;

	UNROLL
	for (tag = 0; tag < VLAN_MAX; tag++) {
		__be16 words[2] = {};

		if (!is_vlan(ethertype))
			break;
		if (bpf_skb_load_bytes(skb, position, words, sizeof(words)))
			return position;
		ethertype = words[1];
		position += VLAN_SIZE;
	}
	if (bpf_skb_load_bytes(skb, position, header, sizeof(header)))
		return position;
	if (header[0] >> 4 == 4) {
		protocol = header[9];
		position += (header[0] & 15) * 4;
	} else {
		protocol = header[6];
		position += IPV6_SIZE;
	}
	if (protocol != PROTOCOL_TCP)
		return position + UDP_SIZE;
	if (bpf_skb_load_bytes(skb, position + TCP_OFFSET, header, 1))
		return position + TCP_SIZE;
	return position + (header[0] >> 4) * 4;
}

/*
 * From a guest (tap, packet socket) comes a segment size whose count the kernel leaves 0
 * until it segments; so it is reckoned here, as the kernel does for its queues.
 */
static __always_inline __u32 skb_segments(const struct __sk_buff *skb, bool l3)
{
	__u32 segments = skb->gso_segs, size, headers;

	if (segments)
		return segments;
	size = skb->gso_size;
	if (!size)
		return 1;
	headers = segment_headers(skb, l3);
	if (skb->len <= headers + size)
		return 1;
	return (skb->len - headers + size - 1) / size;
}

#endif
