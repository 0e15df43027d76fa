/* The shared maps' types with their guards. */
#ifndef XDPFIX_STATE_H
#define XDPFIX_STATE_H

#include "sample.h"
#include "state.def.h"

_Static_assert(sizeof(struct batch) == 8 + BATCH_SIZE * 176, "batch is ABI");
_Static_assert(sizeof(struct batch) < 60 * 1024, "a perf record's length is 16 bits");
_Static_assert(sizeof(struct cpu_state) % 8 == 0, "mmapable values are rounded to 8");
_Static_assert(sizeof(struct gate) == 32, "gate is ABI");
_Static_assert(sizeof(struct sampling_config) == 32, "sampling_config is ABI");
_Static_assert(sizeof(struct gate_rules) == 16, "gate_rules is ABI");
_Static_assert(sizeof(struct rule_tables) == 8 + 8 * RULES_MAX + 8 + RULE_OCTETS + RULE_OCTETS * 256 * 8,
	       "rule_tables is ABI");
_Static_assert(sizeof(struct sample) <= RULE_OCTETS_END, "an offset in a sample is one octet");
_Static_assert(sizeof(struct port_rules) == 65536 * 8, "port_rules is ABI");
_Static_assert(sizeof(struct tunnel_port) == 56, "tunnel_port is ABI");
_Static_assert(sizeof(struct tunnel_neighbour_key) == 16, "tunnel_neighbour_key is ABI");
_Static_assert(sizeof(struct tunnel_neighbour) == 24, "tunnel_neighbour is ABI");
_Static_assert(KERNEL_TUNNEL_FRAGMENT - TUNNEL_MISS_FRAGMENT == KERNEL_CHAIN, "misses are counted in their order");
_Static_assert(KERNEL_COUNTERS - KERNEL_CHAIN == TUNNEL_MISSES, "every miss has a counter");
_Static_assert(sizeof(struct observed) == 56 + 176, "observed is ABI");
_Static_assert(sizeof(struct log2_table) == 8 * (LOG2_STEPS + 1), "log2_table is ABI");

#endif
