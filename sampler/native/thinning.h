/* The gate of the BPF programs over one capture: which of its packets are sampled. */
#ifndef XDPFIX_THINNING_H
#define XDPFIX_THINNING_H

#include <stdbool.h>

#include "state.h"

struct thinning {
	struct gate gate;
	struct sampling_config config;
	struct log2_table table;
	__u64 random;
};

/* By the values that the BPF programs' maps hold. All zero, it takes every packet. 0, or -errno of getrandom(2). */
int thinning_init(struct thinning *thinning, const struct sampling_config *config, const struct log2_table *table);

/* Whether the next packet is taken. */
bool thinning_takes(struct thinning *thinning);

#endif
