/* The BPF parser and gate, compiled for user space: `xdpfix read` and the tests run what the kernel runs. */
#include <errno.h>
#include <stdint.h>

#include "gate.h"
#include "parse.h"
#include "parser.h"

static __u32 load(struct window *window, const __u8 *octets, __u32 length)
{
	__u32 loaded = length < WINDOW_SIZE ? length : WINDOW_SIZE;

	if (loaded)
		memcpy(window->bytes, octets, loaded);
	return loaded;
}

int parse_super_packet(const void *frame, __u32 captured, const struct frame_info *info,
		       const struct port_tunnels *ports, struct sample *out)
{
	struct window window = { .ports = ports };
	struct packet packet = {
		.length = info->length,
		.segments = info->segments,
		.segment_size = info->segment_size,
		.vlan_present = info->vlan_present != 0,
		.vlan_tci = BE16(info->vlan_tci),
		.l3 = info->l3 != 0,
		.tunnels = ports != NULL,
	};

	if (captured > info->length || !info->segments || info->segments > UINT16_MAX)
		return -EINVAL;
	packet.loaded = load(&window, frame, captured);
	memset(out, 0, sizeof(*out));
	window.packet = packet;
	if (parse_packet(&window, out)) {
		const struct inner *inner = &window.inner;
		__u32 rest = captured > inner->offset ? captured - inner->offset : 0;

		parse_inner(&window,
			    load(&window, (const __u8 *)frame + inner->offset, rest < inner->carried ? rest : inner->carried),
			    out);
	}
	return 0;
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
