/* Weights of samples by generation. Used by cache.c. */
#ifndef XDPFIX_WEIGHT_H
#define XDPFIX_WEIGHT_H

#include "sample.h"
#include "weight.def.h"

_Static_assert(sizeof(((struct weight *)0)->table) / sizeof(__u64) == WEIGHT_TABLE + 1, "one weight a size");

struct weights {
	struct weight known[WEIGHT_GENERATIONS];
	unsigned int count;
	unsigned int next;	/* the oldest, replaced by the next new generation */
	unsigned int recent;	/* where the last sample found its generation */
};

void weights_set(struct weights *weights, const struct weight *weight);

/* The weight of one of the `packets` wire packets of a sample, 32.32; 0: unknown generation. */
__u64 weights_find(struct weights *weights, __u16 generation, __u32 packets);

#endif
