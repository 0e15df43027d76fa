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

/*
 * What each wire packet of a sample counts: 96.32. In halves, for gcc 12 moves a whole
 * one by a load that its stores stall. Most weights are small whole numbers, with which
 * a counter is one multiplication and one addition.
 */
struct worth {
	__u64 low;
	__u64 high;
	__u64 whole;	/* the same number where nothing is behind the point and it is below 2^32, else 0 */
};

/* Samples of one packet, all with the same weight: whole numbers, until somebody asks what they estimate. */
struct singles {
	__u64 samples;
	__u64 octets;	/* of IP */
	__u64 squares;	/* of these: the low half of the sum */
	__u64 squares_high;
};

/* A selector and what it counted: the sums are of all samples but those that are in `singles` still. */
struct counter {
	struct selector selector;
	struct worth worth;	/* of a sample of one packet */
	__u64 spread;	/* for the hash: see counter_spread() */
	struct singles singles;
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

/* Among all of them; generations_find() looks at the last sample's before. */
struct generation *generations_search(struct generations *generations, __u16 number);

/* NULL where it is not known. */
static inline struct generation *generations_find(struct generations *generations, __u16 number)
{
	struct generation *recent = &generations->known[generations->recent];

	if (__builtin_expect(generations->count && recent->weight.generation == number, 1))
		return recent;
	return generations_search(generations, number);
}

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

static inline struct worth worth_of(u128 weight)
{
	__u64 low = (__u64)weight, high = (__u64)(weight >> 64);

	return (struct worth){ low, high, high || (__u32)low ? 0 : low >> 32 };
}

static inline u128 worth_weight(const struct worth *worth)
{
	return (u128)worth->high << 64 | worth->low;
}

/* So that one key has a place of its own for each domain and point. */
static inline __u64 counter_spread(__u32 domain, __u32 point)
{
	__u64 product = ((__u64)domain << 32 | point) * 0x9e3779b97f4a7c15;

	return product ^ product >> 32;
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

/* Count a sample that the selector took. `worth` is counter->worth where it is of one packet. */
static inline void counter_add(struct counter *counter, const struct worth *worth, __u32 packets, __u32 octets)
{
	struct singles *singles = &counter->singles;

	if (__builtin_expect(worth == &counter->worth, 1)) {
		u128 squares = ((u128)singles->squares_high << 64 | singles->squares) + (__u64)octets * octets;

		singles->samples++;
		singles->octets += octets;
		singles->squares = (__u64)squares;
		singles->squares_high = (__u64)(squares >> 64);
	} else {
		u128 weight = worth_weight(worth);
		double number = weight_number(weight) * counter->selector.unit;

		counter->samples++;
		flow_count(&counter->total.packets, &counter->total.fraction, weigh(weight, packets));
		estimate_add(&counter->packets, number, packets);
		estimate_add(&counter->octets, number, octets);
	}
}

#endif
