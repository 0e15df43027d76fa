/*
 * The parser: from a packet in a window to the flow key, the lengths and the flags of
 * its sample. The kernel programs and the native reader of captures run this one function.
 */
#ifndef XDPFIX_PARSE_H
#define XDPFIX_PARSE_H

#include "parse_l4.h"

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
}

/* Fills a zeroed sample, but for what only the caller knows: time, generation, ifindex, direction. */
static __always_inline void parse_packet(struct window *window, struct sample *sample)
{
	const struct packet *packet = &window->packet;
	struct cursor cursor = {
		.window = window,
		.flags = &sample->meta.flags,
		.loaded = packet->loaded,
		.limit = packet->length,
	};
	__u64 layer3 = 0;

	if (parse_layer2(&cursor, packet, &sample->key)) {
		layer3 = cursor.position = forget(&cursor, cursor.position);
		if (parse_layer3(&cursor, packet, sample)) {
			parse_layer4(&cursor, sample);
		} else if (sample->key.ip_version) {
			sample->key.ip_protocol = cursor.protocol;
		} else {
			cursor.position = layer3;
			cursor.unsent = 0;
		}
	}
	cursor.position = forget(&cursor, cursor.position);
	count_octets(&cursor, packet, layer3, sample);
}

#endif
