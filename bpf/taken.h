/*
 * The way from the gate to the parser, which all programs share: whether the gate takes a packet, what it is then
 * described with, whether anybody looks at it, and its sample's beginning.
 */
#ifndef XDPFIX_TAKEN_H
#define XDPFIX_TAKEN_H

#include "batch.h"
#include "gates.h"
#include "select.h"

/* A packet that its gate took. */
struct taken {
	const struct gate *gate;
	const struct sampling_config *settings;
	const struct gate_rules *rules;
	struct window *window;
	struct cpu_state *cpu;
	__u32 place;	/* of the selection */
	struct selectors by;
	__u64 now;
};

/* Whether the gate takes the packet, or super-packet of so many. */
static __always_inline bool take(struct gate *gate, __u32 slot, __u64 segments, struct taken *taken)
{
	__u32 selection = selection_number(), processor, zero = 0;

	if (gate_is_of(gate, selection) && gate_skips(gate, segments))
		return false;
	taken->gate = gate;
	taken->place = selection % SELECTIONS;
	taken->settings = bpf_map_lookup_elem(MAP(config), &taken->place);
	slot += taken->place * GATE_SLOTS;
	taken->rules = bpf_map_lookup_elem(MAP(gate_rules), &slot);
	taken->window = bpf_map_lookup_elem(MAP(windows), &zero);
	processor = bpf_get_smp_processor_id();
	taken->cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	return taken->settings && taken->rules && taken->window && taken->cpu &&
	       gate_takes(gate, selection, taken->settings, &taken->cpu->random, segments);
}

/* Whether somebody looks at it, and it gets a sample. Then the busy mark stands, see batch_admit. */
static __always_inline bool admit(struct taken *taken, __u32 segments)
{
	if (!select_gate(taken->settings, taken->rules, &taken->cpu->random, &taken->by)) {
		batch_pass(taken->cpu, segments);
		return false;
	}
	taken->now = bpf_ktime_get_ns();
	return batch_admit(taken->cpu, taken->settings, taken->now, segments);
}

static __always_inline void sample_begin(struct sample *sample, const struct taken *taken, __u32 ifindex,
					 __u32 direction)
{
	__builtin_memset(sample, 0, sizeof(*sample));
	sample->meta.time = taken->now;
	sample->meta.generation = taken->settings->generation;
	sample->meta.rules = taken->by.rules;
	sample->meta.main = taken->by.main;
	sample->key.ifindex = ifindex;
	sample->key.direction = direction;
	if (direction == DIRECTION_INGRESS)
		sample->meta.ingress_ifindex = ifindex;
	else
		sample->meta.egress_ifindex = ifindex;
}

/* How the packets of this gate are to be read. */
static __always_inline void packet_begin(struct packet *packet, const struct taken *taken)
{
	packet->l3 = taken->gate->flags & GATE_L3;
	packet->tunnels = taken->settings->tunnels && !(taken->gate->flags & GATE_TUNNEL);
	packet->netdev = taken->settings->tunnels && taken->gate->flags & GATE_TUNNEL;
}

#endif
