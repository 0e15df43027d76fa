/* The gate of the BPF programs over one capture: which of its packets are sampled. */
#include <errno.h>
#include <math.h>
#include <sys/random.h>

#include "gate.h"
#include "thinning.h"

#define TWO_32 4294967296.0L
#define TWO_63 9223372036854775808.0L

/* SplitMix64 (Steele, Lea, Flood 2014): one word of state, equidistributed. */
static __u64 next_random(__u64 *state)
{
	__u64 word = *state += 0x9e3779b97f4a7c15;

	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
	word = (word ^ word >> 27) * 0x94d049bb133111eb;
	return word ^ word >> 31;
}

int thinning_init(struct thinning *thinning, __u32 interval, __u16 generation)
{
	struct thinning made = { .config.generation = generation };

	if (!interval)
		return -EINVAL;
	if (getrandom(&made.random, sizeof(made.random), 0) != sizeof(made.random))
		return -errno;
	/* 1 / log2(1 / (1 - p)), and 0 for p = 1: see struct sampling_config. */
	if (interval > 1)
		made.config.scale = -M_LN2 / log1pl(-1.0L / interval) * TWO_32;
	for (unsigned int i = 0; i <= LOG2_STEPS; i++)
		made.table.value[i] = log2l(1 + (long double)i / LOG2_STEPS) * TWO_63;
	*thinning = made;
	gate_draw(&thinning->gate, &thinning->config, &thinning->table, next_random(&thinning->random));
	return 0;
}

bool thinning_takes(struct thinning *thinning)
{
	if (gate_skips(&thinning->gate, 1))
		return false;
	gate_draw(&thinning->gate, &thinning->config, &thinning->table, next_random(&thinning->random));
	return true;
}
