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

/* One packet in `interval` is taken; 1 takes all. 0, -EINVAL for 0, or -errno of getrandom(2). */
int thinning_init(struct thinning *thinning, __u32 interval, __u16 generation);

/* Whether the next packet is taken. */
bool thinning_takes(struct thinning *thinning);

#endif
