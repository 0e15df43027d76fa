/* Weights of samples by generation. */
#include <math.h>

#include "weight.h"

void weights_set(struct weights *weights, const struct weight *weight)
{
	for (unsigned int i = 0; i < weights->count; i++) {
		if (weights->known[i].generation == weight->generation) {
			weights->known[i] = *weight;
			return;
		}
	}
	weights->known[weights->next] = *weight;
	weights->next = (weights->next + 1) % WEIGHT_GENERATIONS;
	if (weights->count < WEIGHT_GENERATIONS)
		weights->count++;
}

static __u64 weight_of(const struct weight *weight, __u32 packets)
{
	if (packets <= WEIGHT_TABLE)
		return weight->table[packets];
	/* expm1 keeps its precision where (1 - p)^s is close to 1. The result is in [1, 2^32 / 65]. */
	return (__u64)(-0x1p32 / expm1(weight->log_miss * packets) + 0.5);
}

__u64 weights_find(struct weights *weights, __u16 generation, __u32 packets)
{
	if (weights->recent < weights->count && weights->known[weights->recent].generation == generation)
		return weight_of(&weights->known[weights->recent], packets);
	for (unsigned int i = 0; i < weights->count; i++) {
		if (weights->known[i].generation == generation) {
			weights->recent = i;
			return weight_of(&weights->known[i], packets);
		}
	}
	return 0;
}
