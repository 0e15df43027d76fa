/*
 * Where packets come into this host and where they leave it: what the skb knows, and at ingress
 * what the kernel's own routing says.
 */
#ifndef XDPFIX_ROUTE_H
#define XDPFIX_ROUTE_H

#include "parse_ip.h"

/* AF_INET and AF_INET6 of <sys/socket.h>, which the BPF target lacks. */
#define FAMILY_IPV4 2
#define FAMILY_IPV6 10

#define PACKET_HOST 0	/* __sk_buff.pkt_type, <linux/if_packet.h>: addressed to this interface */

/*
 * Whether a bpf_fib_lookup() found the way out. Without a neighbour yet it is found as well (the interface is
 * given since Linux 5.11, commit d1c362e1dd68), and a packet too long for it goes out in fragments or segments.
 */
static __always_inline bool is_forwarded(long result)
{
	return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       result == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/*
 * Asks, but later: a packet that no rule selects is not worth the lookup. By its headers as they are on the
 * wire, so ahead of those of a packet inside it. Nothing is asked of what is no
 * IP packet, or on its last hop.
 */
static __always_inline void route_ask(struct window *window, const struct flow_key *key, bool wanted)
{
	struct bpf_fib_lookup *query = (void *)window->route;

	/* Whether anything is asked is noted in memory, where the verifier does not follow it. */
	query->ifindex = 0;
	if (!wanted || key->ip_ttl < 2)
		return;
	__builtin_memset(query, 0, sizeof(*query));
	if (key->ip_version == 4 && key->ethertype == BE16(ETHERTYPE_IPV4)) {
		query->family = FAMILY_IPV4;
		query->tos = key->ip_tos;
	} else if (key->ip_version == 6 && key->ethertype == BE16(ETHERTYPE_IPV6)) {
		query->family = FAMILY_IPV6;
		query->flowinfo = key->flow_label | BE32((__u32)key->ip_tos << 20);
	} else {
		return;
	}
	/* An IPv4 address is the first word of four here, too. */
	copy64(query->ipv6_src, key->src_addr);
	copy64(&query->ipv6_src[2], key->src_addr + 8);
	copy64(query->ipv6_dst, key->dst_addr);
	copy64(&query->ipv6_dst[2], key->dst_addr + 8);
	query->l4_protocol = key->ip_protocol;
	query->sport = key->src_port;
	query->dport = key->dst_port;
	query->ifindex = key->ifindex;
}

/*
 * The interface by which the host will send on the packet that was asked for; 0: it does not, or none was.
 * Without a total length the kernel compares no MTU but an skb's own with what it finds.
 */
static __always_inline __u32 route_find(void *context, struct window *window)
{
	struct bpf_fib_lookup *query = (void *)window->route;

	if (!query->ifindex || !is_forwarded(bpf_fib_lookup(context, query, sizeof(*query), 0)))
		return 0;
	return query->ifindex;
}

#endif
