/* The BPF parser and gate, compiled for user space: `xdpfix read` and the tests run what the kernel runs. */
#include <errno.h>

#include "parse.h"
#include "parser.h"

int parse_super_packet(const void *frame, __u32 captured, __u32 length, __u32 l3, __u32 segments, __u32 segment_size,
		       __u32 vlan_present, __u16 vlan_tci, struct sample *out)
{
	struct packet packet = {
		.length = length,
		.loaded = captured < WINDOW_SIZE ? captured : WINDOW_SIZE,
		.segments = segments,
		.segment_size = segment_size,
		.vlan_present = vlan_present != 0,
		.vlan_tci = BE16(vlan_tci),
		.l3 = l3 != 0,
	};
	struct window window;

	if (captured > length || !segments)
		return -EINVAL;
	if (packet.loaded)
		memcpy(window.bytes, frame, packet.loaded);
	memset(out, 0, sizeof(*out));
	parse_packet(&window, &packet, out);
	return 0;
}

int parse_frame(const void *frame, __u32 captured, __u32 length, __u32 l3, struct sample *out)
{
	return parse_super_packet(frame, captured, length, l3, 1, 0, 0, 0, out);
}
