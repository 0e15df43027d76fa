/*
 * Packets of tunnel netdevs: they come bare, and the tunnel is known from the skb's metadata,
 * else from what user space says of the link (struct tunnel_port) and, for vxlan, of the
 * forwarding database (struct tunnel_neighbour). And IPsec around GRE, known from the skb.
 */
#ifndef XDPFIX_TUNNEL_NETDEV_H
#define XDPFIX_TUNNEL_NETDEV_H

#include "maps.h"

#define EPROTO_ERROR (-71)	/* the addresses are of the other family */
#define EINVAL_ERROR (-22)	/* no metadata, or a structure of another size */
#define TUNNEL_INFO_IPV6 1	/* BPF_F_TUNINFO_IPV6 */

/*
 * struct bpf_tunnel_key of <linux/bpf.h>, which has its last member since Linux 5.19 (commit
 * 26101f5ab6bd). The helper calls the source of the outer header remote and its destination
 * local, at egress too.
 */
struct tunnel_info {
	__u32 id;
	__u32 source[4];	/* IPv4 in host byte order, IPv6 in network byte order */
	__u8 tos;
	__u8 ttl;
	__u16 flags;
	__u32 label;
	__u32 destination[4];
};

#define TUNNEL_INFO_OLD_SIZE 28

/* struct bpf_xfrm_state of <linux/bpf.h>. */
struct xfrm_state_info {
	__u32 reqid;
	__u32 spi;
	__u16 family;
	__u16 reserved;
	__u32 remote[4];
};

/* The IP version of the skb's tunnel metadata, 0 where there is none. The helper looks at the family ahead of the size. */
static __always_inline __u8 get_tunnel_info(struct __sk_buff *skb, struct tunnel_info *info)
{
	__u64 flags = 0;
	int error = bpf_skb_get_tunnel_key(skb, (void *)info, sizeof(*info), flags);

	if (error == EPROTO_ERROR) {
		flags = TUNNEL_INFO_IPV6;
		error = bpf_skb_get_tunnel_key(skb, (void *)info, sizeof(*info), flags);
	}
	if (error == EINVAL_ERROR)
		error = bpf_skb_get_tunnel_key(skb, (void *)info, TUNNEL_INFO_OLD_SIZE, flags);
	return error ? 0 : flags ? 6 : 4;
}

static __always_inline void set_address(__u8 *address, const __u32 *words, __u8 version)
{
	if (version == 4) {
		__u32 word = BE32(words[0]);

		copy32(address, &word);
		return;
	}
	copy32(address, &words[0]);
	copy32(address + 4, &words[1]);
	copy32(address + 8, &words[2]);
	copy32(address + 12, &words[3]);
}

static __always_inline void copy_address(__u8 *to, const __u8 *from)
{
	copy64(to, from);
	copy64(to + 8, from + 8);
}

static __always_inline bool is_zero(const __u8 *address)
{
	return !(load64(address) | load64(address + 8));
}

/* Where the forwarding database has the inner address of the far side, or NULL. */
static __always_inline const struct tunnel_neighbour *find_neighbour(const struct flow_key *key, __be64 number)
{
	bool egress = key->direction == DIRECTION_EGRESS;
	struct tunnel_neighbour_key place = { .ifindex = key->ifindex, .vni = BE32((__u32)BE64(number)) };
	const __u8 *mac = egress ? key->dst_mac : key->src_mac;
	const struct tunnel_neighbour *neighbour;

	copy16(place.mac, mac);
	copy16(place.mac + 2, mac + 2);
	copy16(place.mac + 4, mac + 4);
	neighbour = bpf_map_lookup_elem(MAP(tunnel_neighbours), &place);
	if (neighbour || !egress)
		return neighbour;
	__builtin_memset(place.mac, 0, sizeof(place.mac));
	return bpf_map_lookup_elem(MAP(tunnel_neighbours), &place);
}

/* The far end, where the skb did not tell it: of this MAC address, else the link's only one. */
static __always_inline void find_remote(const struct flow_key *key, const struct tunnel_port *port, __u8 *remote,
					struct tunnel_key *tunnel)
{
	const struct tunnel_neighbour *neighbour = 0;

	if (port->flags & TUNNEL_PORT_NEIGHBOURS)
		neighbour = find_neighbour(key, tunnel->key);
	if (!neighbour) {
		copy_address(remote, port->remote);
		tunnel->ip_version = port->remote_version;
		return;
	}
	copy_address(remote, neighbour->remote);
	tunnel->ip_version = neighbour->version;
	if (key->direction != DIRECTION_EGRESS)
		return;
	if (neighbour->vni)
		tunnel->key = BE64((__u64)BE32(neighbour->vni));
	if (neighbour->port)
		tunnel->dst_port = neighbour->port;
}

/* Fills the tunnel of a sample that holds the packet of a tunnel netdev. Without skb (XDP) there is no metadata. */
static __always_inline void take_netdev(struct __sk_buff *skb, struct sample *sample)
{
	struct flow_key *key = &sample->key;
	bool egress = key->direction == DIRECTION_EGRESS;
	/* In the sample, not on the stack: what the verifier does not know there it need not follow. */
	struct tunnel_key *tunnel = &key->tunnel;
	__u8 *remote = egress ? tunnel->dst_addr : tunnel->src_addr;
	__u8 *local = egress ? tunnel->src_addr : tunnel->dst_addr;
	const struct tunnel_port *port;
	struct tunnel_info info;
	__u32 ifindex = key->ifindex;

	port = bpf_map_lookup_elem(MAP(tunnel_ports), &ifindex);
	if (!port)
		goto unknown;
	tunnel->key = egress ? port->key_out : port->key_in;
	tunnel->dst_port = port->port;
	tunnel->type = port->type;
	tunnel->key_length = port->key_length;
	tunnel->protocol = port->protocol;
	/* A GRE netdev for any remote has metadata, too, of what it receives (ip_tunnel_rcv). */
	if (port->flags & TUNNEL_PORT_EXTERNAL || (!egress && !port->remote_version && port->type != TUNNEL_VXLAN)) {
		tunnel->ip_version = skb ? get_tunnel_info(skb, &info) : 0;
		if (!tunnel->ip_version)
			goto unknown;
		tunnel->key = BE64((__u64)info.id);
		set_address(tunnel->src_addr, info.source, tunnel->ip_version);
		set_address(tunnel->dst_addr, info.destination, tunnel->ip_version);
	}
	if (is_zero(remote))
		find_remote(key, port, remote, tunnel);
	if (is_zero(remote))
		goto unknown;
	if (is_zero(local) && port->local_version == tunnel->ip_version)
		copy_address(local, port->local);
	return;
unknown:
	__builtin_memset(tunnel, 0, sizeof(*tunnel));
	sample->meta.tunnel_miss = TUNNEL_MISS_REMOTE;
}

/* GRE that came out of IPsec in tunnel mode passes the interface a second time, with its security path. */
static __always_inline void mark_ipsec(struct __sk_buff *skb, struct tunnel_key *tunnel)
{
	struct xfrm_state_info state;

	if (!FEATURE(skb_xfrm_state) || tunnel->type != TUNNEL_GRE)
		return;
	if (!bpf_skb_get_xfrm_state(skb, 0, (void *)&state, sizeof(state), 0))
		tunnel->type = TUNNEL_IPSEC_GRE;
}

#endif
