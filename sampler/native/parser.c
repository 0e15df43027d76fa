/* The BPF parser and gate, compiled for user space: `xdpfix read` and the tests run what the kernel runs. */
#include <errno.h>
#include <stdint.h>

#include "gate.h"
#include "parse.h"
#include "parser.h"

/* Octets that are stored together. */
typedef __u64 vector __attribute__((vector_size(16), aligned(8), may_alias));

_Static_assert(sizeof(struct sample) == 11 * sizeof(vector), "as many stores as clear() has");

/*
 * Eleven stores. gcc 12 makes memset() of this size one "rep stos", which takes 12 ns to begin, and of a loop a
 * memset().
 */
static inline void clear(struct sample *sample)
{
	const vector zero = { 0 };
	vector *part = (vector *)sample;

	part[0] = part[1] = part[2] = part[3] = part[4] = part[5] = zero;
	part[6] = part[7] = part[8] = part[9] = part[10] = zero;
}

/* Puts the window over the octets, which stay the caller's. */
static __u32 load(struct window *window, const __u8 *octets, __u32 length)
{
	window->bytes = octets;
	return length < WINDOW_SIZE ? length : WINDOW_SIZE;
}

int parse_super_packet(const void *frame, __u32 captured, const struct frame_info *info,
		       const struct port_tunnels *ports, struct sample *out)
{
	/* The parser reads nothing else of it that it has not written. */
	struct window window;

	if (captured > info->length || !info->segments || info->segments > UINT16_MAX)
		return -EINVAL;
	window.ports = ports;
	window.packet = (struct packet){
		.length = info->length,
		.loaded = load(&window, frame, captured),
		.segments = info->segments,
		.segment_size = info->segment_size,
		.vlan_present = info->vlan_present != 0,
		.vlan_tci = BE16(info->vlan_tci),
		.l3 = info->l3 != 0,
		.tunnels = ports != NULL,
	};
	clear(out);
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
