/* Weights of samples by generation and selector. Used by cache.c and ingest.c. */
#ifndef XDPFIX_WEIGHT_H
#define XDPFIX_WEIGHT_H

#include "flow.h"
#include "weight.def.h"

_Static_assert(sizeof(((struct weight *)0)->table) / sizeof(__u64) == WEIGHT_TABLE + 1, "one weight a size");

/* Wire packets that samples stand for. */
struct total {
	__u64 packets;
	__u32 fraction;
};

/* What samples tell of all packets: Horvitz and Thompson's estimate of a total, and that of its variance. */
struct estimate {
	double total;
	double variance;
};

/* A selector and what it counted. */
struct counter {
	struct selector selector;
	__u64 samples;
	struct total total;
	struct estimate packets;
	struct estimate octets;	/* of IP */
};

struct generation {
	struct weight weight;
	__u64 rules;	/* those of the 64 that are selectors of this exporter */
	__u8 main;	/* it has the main selector */
	struct counter selectors[SELECTORS];	/* by number */
};

struct generations {
	struct generation known[WEIGHT_GENERATIONS];
	unsigned int count;
	unsigned int next;	/* the oldest, replaced by the next new generation */
	unsigned int recent;	/* where the last sample found its own */
	struct total replaced;	/* counted in generations that are known no more */
	struct generation *lasting[WEIGHT_LASTING];	/* NULL until it is told */
};

_Static_assert(WEIGHT_LASTING_FIRST + WEIGHT_LASTING == 1 << 16, "the highest numbers that a sample can carry");

/* What generations_set allocated. */
void generations_free(struct generations *generations);

/*
 * A generation that is known already keeps what its selectors counted; one that lasts, of those that it has still. 0, -EINVAL for a selector's number, or
 * -ENOMEM.
 */
int generations_set(struct generations *generations, const struct weight *weight, const struct selector *selectors,
		    unsigned int count);

/* NULL where it is not known. */
struct generation *generations_find(struct generations *generations, __u16 number);

/* What the selectors of the known generations counted: up to `limit`; returns how many. */
unsigned int generations_stats(const struct generations *generations, struct selector_stats *stats,
			       unsigned int limit);

/* Wire packets that all samples ever counted stand for. */
__u64 generations_represented(const struct generations *generations);

/* The weight of one of the `packets` wire packets of a sample that the gate took, 32.32. */
__u64 weight_of(const struct weight *weight, __u32 packets);

/* What it is for this selector: 96.32. */
static inline u128 weight_for(const struct selector *selector, __u64 weight)
{
	if (selector->factor == 1 && !selector->factor_fraction)
		return weight;
	return (u128)weight * selector->factor + (((u128)weight * selector->factor_fraction + (1ull << 63)) >> 64);
}

static inline double weight_number(u128 weight)
{
	return (weight >> 64 ? (double)weight : (double)(__u64)weight) * 0x1p-32;
}

/* A sample that was taken with probability 1 / weight, and has this much of what is summed. */
static inline void estimate_add(struct estimate *estimate, double weight, double amount)
{
	double share = weight * amount;

	estimate->total += share;
	estimate->variance += share * (share - amount);
}

#endif
