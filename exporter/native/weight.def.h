/* Weights: how many packets a sample stands for, by the generation that selected it. Read by cc and cffi. */

/* Super-packets up to this many packets have their weight in a table: a 64 KiB GSO packet has 45 full segments. */
#define WEIGHT_TABLE 64

/* Generations known at once: samples of an older configuration are in flight for milliseconds. */
#define WEIGHT_GENERATIONS 16

/*
 * Weights of one generation that takes wire packets with probability p. Weights are
 * in 32.32 fixed point: table[s] = 1 / pi(s) for a sample of s packets, with
 * pi(s) = 1 - (1 - p)^s; table[0] is not used.
 */
struct weight {
	__u64 table[65];
	double log_miss;	/* ln(1 - p), minus infinity for p = 1 */
	__u16 generation;
};
