/* The BPF parser and gate, compiled for user space: `xdpfix read` and the tests run what the kernel runs. */
#include <errno.h>

#include "gate.h"
#include "parse.h"
#include "parser.h"

int parse_super_packet(const void *frame, __u32 captured, __u32 length, __u32 l3, __u32 segments, __u32 segment_size,
		       __u32 vlan_present, __u16 vlan_tci, struct sample *out)
{
	struct window window;
	struct packet packet = {
		.length = length,
		.loaded = captured < WINDOW_SIZE ? captured : WINDOW_SIZE,
		.segments = segments,
		.segment_size = segment_size,
		.vlan_present = vlan_present != 0,
		.vlan_tci = BE16(vlan_tci),
		.l3 = l3 != 0,
	};

	if (captured > length || !segments)
		return -EINVAL;
	if (packet.loaded)
		memcpy(window.bytes, frame, packet.loaded);
	memset(out, 0, sizeof(*out));
	window.packet = packet;
	parse_packet(&window, out);
	return 0;
}

int parse_frame(const void *frame, __u32 captured, __u32 length, __u32 l3, struct sample *out)
{
	return parse_super_packet(frame, captured, length, l3, 1, 0, 0, 0, out);
}

__u64 gate_gap(const struct log2_table *table, __u64 scale, __u64 random)
{
	return geometric(table, scale, random);
}

double gate_mean(const struct log2_table *table, __u64 scale, __u64 strata)
{
	__u64 width = ~0ULL / strata, stratum;
	double sum = 0;

	for (stratum = 0; stratum < strata; stratum++)
		sum += (double)geometric(table, scale, stratum * width + width / 2);
	return sum / (double)strata;
}
