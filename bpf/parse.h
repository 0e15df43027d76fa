/*
 * The parser: from a packet in a window to the flow key, the lengths and the flags of
 * its sample. The kernel programs and the native reader of captures run this one function.
 */
#ifndef XDPFIX_PARSE_H
#define XDPFIX_PARSE_H

#include "parse_tunnel.h"

/*
 * Octets in front of what was segmented. More than the cursor walked where a tunnel's inner
 * headers lie behind it: exact when the segments are all full, and not more than there are.
 */
static __always_inline __u32 segment_headers_end(const struct cursor *cursor, const struct packet *packet)
{
	__u64 payload = (__u64)packet->segments * packet->segment_size;

	if (packet->segments > 1 && payload && cursor->position + payload < packet->length)
		return packet->length - payload;
	return cursor->position;
}

/*
 * Octets that the wire carries: each of a super-packet's segments has headers of its
 * own, and a tag held beside the frame goes back into it.
 */
static __always_inline void count_octets(const struct cursor *cursor, const struct packet *packet, __u64 layer3,
					 struct sample *sample)
{
	__u32 headers = segment_headers_end(cursor, packet) - cursor->unsent, tag = packet->vlan_present ? VLAN_SIZE : 0;
	__u32 repeats = packet->segments - 1, ip_headers, ip_length;

	sample->meta.packets = packet->segments;
	sample->meta.frame_octets = packet->length + tag - cursor->unsent + repeats * (headers + tag);
	if (!sample->key.ip_version)
		return;
	ip_headers = headers - layer3;
	ip_length = sample->meta.ip_octets - cursor->unsent;
	sample->meta.ip_octets = ip_length + repeats * ip_headers;
	/* Without a size of its own (0, or SCTP's 65535) a segment is no longer than the whole. */
	if (repeats && packet->segment_size && ip_headers + packet->segment_size < ip_length)
		ip_length = ip_headers + packet->segment_size;
	sample->meta.ip_length = ip_length;
	/* Without Ethernet layer 2 is nothing but the IP packet. */
	if (packet->l3)
		sample->meta.frame_octets = sample->meta.ip_octets;
}

/* Layers 2 to 4 from the window's begin. Whether layer 4 was reached; `layer3` is where the IP header was. */
static __always_inline bool parse_headers(struct cursor *cursor, const struct packet *packet, __u64 *layer3,
					  struct sample *sample)
{
	bool reached = false;

	*layer3 = 0;
	if (parse_layer2(cursor, packet, &sample->key)) {
		*layer3 = cursor->position = forget(cursor, cursor->position);
		if (parse_layer3(cursor, packet, sample)) {
			parse_layer4(cursor, sample);
			reached = true;
		} else if (sample->key.ip_version) {
			sample->key.ip_protocol = cursor->protocol;
		} else {
			cursor->position = *layer3;
			cursor->unsent = 0;
		}
	}
	cursor->position = forget(cursor, cursor->position);
	return reached;
}

/*
 * Fills a zeroed sample, but for what only the caller knows: time, generation, ifindex,
 * direction. Returns whether it is a tunnel's packet that carries another: the caller loads
 * that, window->inner.carried octets from window->inner.offset on, and calls parse_inner.
 */
static __always_inline bool parse_packet(struct window *window, struct sample *sample)
{
	const struct packet *packet = &window->packet;
	struct cursor cursor = {
		.window = window,
		.flags = &sample->meta.flags,
		.loaded = packet->loaded,
		.limit = packet->length,
	};
	__u64 layer3;
	bool reached = parse_headers(&cursor, packet, &layer3, sample);

	count_octets(&cursor, packet, layer3, sample);
	return packet->tunnels && reached && find_inner(&cursor, packet, sample);
}

/* Behind parse_packet: the first `loaded` octets of the inner packet are in the window. 0: they could not be loaded. */
static __always_inline void parse_inner(struct window *window, __u32 loaded, struct sample *sample)
{
	struct inner *inner = &window->inner;
	const struct packet *packet = &inner->packet;
	struct sample *found = &inner->sample;
	struct cursor cursor = {
		.window = window,
		.flags = &found->meta.flags,
		.limit = packet->length,
	};
	__u64 layer3;

	cursor.loaded = inner->packet.loaded = loaded;
	parse_headers(&cursor, packet, &layer3, found);
	sample->meta.tunnel_miss = inner_miss(&cursor, packet, found);
	if (sample->meta.tunnel_miss)
		return;
	count_octets(&cursor, packet, layer3, found);
	if (inner->type == TUNNEL_STT)
		count_stt(inner, layer3, sample->meta.packets, found);
	take_inner(inner, sample);
}

#endif
