/* The gates in their map: which one is a packet's, and whether it takes the packet. */
#ifndef XDPFIX_GATES_H
#define XDPFIX_GATES_H

#include "maps.h"
#include "gate.h"

/* The gate of an interface and direction and its slot, or NULL where it is not sampled. */
static __always_inline struct gate *find_gate(__u32 ifindex, __u32 direction, __u32 *slot)
{
	struct gate *gate;
	__u32 probe;

	UNROLL
	for (probe = 0; probe < GATE_PROBES; probe++) {
		*slot = (2 * ifindex + direction + 2 * probe) % GATE_SLOTS;
		gate = bpf_map_lookup_elem(MAP(gates), slot);
		if (gate && gate->ifindex == ifindex)
			return gate;
	}
	return 0;
}

/* The number of the selection in force. Read once a packet, so that all of it goes by the same one. */
static __always_inline __u32 selection_number(void)
{
	__u32 zero = 0;
	const __u32 *number = bpf_map_lookup_elem(MAP(selection), &zero);

	return number ? *(const volatile __u32 *)number : 0;
}

/* Behind the fast path: whether a packet is taken. */
static __always_inline bool gate_takes(struct gate *gate, __u32 selection, const struct sampling_config *settings,
				       __u64 *random, __u64 segments)
{
	const struct log2_table *table;
	__u32 zero = 0;

	table = bpf_map_lookup_elem(MAP(log2_table), &zero);
	if (!table)
		return false;
	if (!gate->skip || !gate_is_of(gate, selection)) {
		gate_draw(gate, selection, settings, table, random);
		if (gate_skips(gate, segments))
			return false;
	}
	gate_hit(gate, segments);
	gate_draw(gate, selection, settings, table, random);
	return true;
}

#endif
