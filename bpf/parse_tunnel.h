/*
 * Tunnels on the wire: which packets are a tunnel's, where their inner packet lies, and how
 * the sample of the outer headers becomes that of the inner ones.
 *
 * The inner packet is loaded into the window anew between the two halves, parse_packet and
 * parse_inner, so that outer headers and options of any length leave it whole. One tunnel is
 * followed: what a tunnel in a tunnel carries is described by the inner tunnel's outer headers.
 */
#ifndef XDPFIX_PARSE_TUNNEL_H
#define XDPFIX_PARSE_TUNNEL_H

#include "port_tunnels.h"
#include "tunnel_headers.h"

/* enum tunnel_type of a packet by its protocol and destination port; 0: no tunnel's. */
static __always_inline __u8 tunnel_type(const struct cursor *cursor, const struct flow_key *key)
{
	__u8 type;

	if (key->ip_protocol == PROTOCOL_GRE)
		return TUNNEL_GRE;
	if (key->ip_protocol != PROTOCOL_UDP && key->ip_protocol != PROTOCOL_TCP)
		return TUNNEL_NONE;
	type = port_tunnel(cursor->window, BE16(key->dst_port));
	if (key->ip_protocol == PROTOCOL_UDP)
		return type & ~PORT_STT;
	return type & PORT_STT ? TUNNEL_STT : TUNNEL_NONE;
}

/* The UDP length ends the payload. Those of super-packets are of no use: one segment's, or past 16 bits. */
static __always_inline bool end_by_udp(struct cursor *cursor, const struct packet *packet)
{
	__u64 start = cursor->layer4, length;
	struct cursor header = *cursor;
	const __u8 *udp;

	if (packet->segments > 1)
		return true;
	header.position = forget(cursor, start);
	if (!pull(&header, UDP_SIZE, &udp))
		return false;
	length = BE16(load16(udp + 4));
	if (length < UDP_SIZE || start + length > cursor->limit)
		return false;
	cursor->limit = start + length;
	return true;
}

static __always_inline enum tunnel_miss parse_header(struct cursor *cursor, const struct packet *packet,
						     struct inner *inner)
{
	if (inner->type == TUNNEL_GRE)
		return parse_gre(cursor, inner);
	if (inner->type == TUNNEL_STT)
		return parse_stt(cursor, inner);
	if (!end_by_udp(cursor, packet))
		return TUNNEL_MISS_HEADER;
	cursor->limit = forget(cursor, cursor->limit);
	cursor->position = forget(cursor, cursor->position);
	if (inner->type == TUNNEL_VXLAN)
		return parse_vxlan(cursor, inner);
	if (inner->type == TUNNEL_GENEVE)
		return parse_geneve(cursor, inner);
	return parse_lisp(cursor, inner);
}

/* Ethernet, or IPv4 or IPv6 without it. */
static __always_inline bool set_layer(struct packet *packet)
{
	packet->l3 = packet->protocol != BE16(ETHERTYPE_TEB);
	return !packet->l3 || packet->protocol == BE16(ETHERTYPE_IPV4) || packet->protocol == BE16(ETHERTYPE_IPV6);
}

/*
 * Behind layer 4, whether there is an inner packet: then window->inner says where, for the
 * caller to load it and call parse_inner. What only looks like one is noted in the sample.
 */
static __always_inline bool find_inner(struct cursor *cursor, const struct packet *packet, struct sample *sample)
{
	struct inner *inner = &cursor->window->inner;
	__u8 ignored = 0, type = tunnel_type(cursor, &sample->key), miss;

	if (!type)
		return false;
	if (sample->meta.fragment & FRAGMENT_ANY) {
		sample->meta.tunnel_miss = TUNNEL_MISS_FRAGMENT;
		return false;
	}
	__builtin_memset(inner, 0, sizeof(*inner));
	inner->type = type;
	cursor->flags = &ignored;
	cursor->position = forget(cursor, cursor->position);
	miss = parse_header(cursor, packet, inner);
	if (!miss && !set_layer(&inner->packet))
		miss = TUNNEL_MISS_PAYLOAD;
	if (!miss && cursor->position == cursor->limit)
		miss = TUNNEL_MISS_SHORT;
	if (miss) {
		sample->meta.tunnel_miss = miss;
		return false;
	}
	inner->offset = cursor->position;
	inner->carried = cursor->limit - cursor->position;
	inner->packet.segments = packet->segments;
	inner->packet.segment_size = packet->segment_size;
	if (type == TUNNEL_STT) {
		/* The segments behind the first bring no headers of the inner packet with them. */
		inner->packet.segments = 1;
		inner->packet.segment_size = 0;
	} else {
		inner->packet.length = inner->carried;
	}
	return true;
}

/* Why the inner packet, parsed, is not what the outer one is described by. */
static __always_inline enum tunnel_miss inner_miss(const struct cursor *cursor, const struct packet *packet,
						   const struct sample *found)
{
	if (found->meta.flags & SAMPLE_TRUNCATED)
		return TUNNEL_MISS_SHORT;
	if (found->meta.flags & SAMPLE_MALFORMED)
		return TUNNEL_MISS_PAYLOAD;
	if (packet->l3 && (!found->key.ip_version || found->key.ethertype != packet->protocol))
		return TUNNEL_MISS_PAYLOAD;
	/* A super-packet's inner packet is one, to the end. Else several were joined, as UDP segmentation does. */
	if (packet->segments > 1 && (!found->key.ip_version || cursor->limit != packet->length))
		return TUNNEL_MISS_SEVERAL;
	return TUNNEL_MISS_NONE;
}

/* STT: count what these segments carry of the inner packet. The later ones are counted by their outer headers. */
static __always_inline void count_stt(const struct inner *inner, __u64 layer3, __u32 segments, struct sample *found)
{
	__u32 ip_octets = inner->carried - layer3;

	found->meta.packets = segments;
	if (inner->carried == inner->packet.length && segments == 1)
		return;
	found->meta.frame_octets += inner->carried - inner->packet.length;
	if (!found->key.ip_version)
		return;
	if (ip_octets < found->meta.ip_octets)
		found->meta.ip_octets = ip_octets;
	found->meta.ip_length = (found->meta.ip_octets + segments - 1) / segments;
}

/* The sample becomes the inner packet's; the outer addresses are the tunnel's. */
static __always_inline void take_inner(const struct inner *inner, struct sample *sample)
{
	const struct sample *found = &inner->sample;
	struct tunnel_key *tunnel = &sample->key.tunnel;
	struct flow_key *key = &sample->key;
	__u32 ifindex = key->ifindex;
	__u8 direction = key->direction;
	__u32 word;

	copy64(tunnel->src_addr, key->src_addr);
	copy64(tunnel->src_addr + 8, key->src_addr + 8);
	copy64(tunnel->dst_addr, key->dst_addr);
	copy64(tunnel->dst_addr + 8, key->dst_addr + 8);
	tunnel->key = inner->key;
	if (inner->type != TUNNEL_GRE) {
		tunnel->src_port = key->src_port;
		tunnel->dst_port = key->dst_port;
	}
	tunnel->type = inner->type;
	tunnel->key_length = inner->key_length;
	tunnel->protocol = key->ip_protocol;
	tunnel->ip_version = key->ip_version;
	UNROLL
	for (word = 0; word < FLOW_KEY_PLAIN_SIZE; word += 8)
		copy64((__u8 *)key + word, (const __u8 *)&found->key + word);
	key->ifindex = ifindex;
	key->direction = direction;
	sample->meta.packets = found->meta.packets;
	sample->meta.frame_octets = found->meta.frame_octets;
	sample->meta.ip_octets = found->meta.ip_octets;
	sample->meta.ip_length = found->meta.ip_length;
	sample->meta.tcp_flags = found->meta.tcp_flags;
	sample->meta.fragment = found->meta.fragment;
	sample->meta.flags = found->meta.flags;
}

#endif
