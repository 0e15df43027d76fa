/* Weights of samples by generation and selector. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weight.h"

static void add_total(struct total *sum, const struct total *total)
{
	flow_count(&sum->packets, &sum->fraction, (u128)total->packets << 32 | total->fraction);
}

static void add_totals(struct total *sum, const struct generation *generation)
{
	for (unsigned int i = 0; i < SELECTORS; i++)
		add_total(sum, &generation->selectors[i].total);
}

static int has_selector(const struct generation *generation, unsigned int number)
{
	return number == SELECTOR_MAIN ? generation->main : generation->rules >> number & 1;
}

/* Of a generation that lasts others may have the numbers of selectors that ended, and are to begin at 0. */
static void end_selectors(struct generations *generations, struct generation *generation)
{
	for (unsigned int number = 0; number < SELECTORS; number++) {
		struct counter *counter = &generation->selectors[number];

		if (!has_selector(generation, number) && counter->samples) {
			add_total(&generations->replaced, &counter->total);
			*counter = (struct counter){ .samples = 0 };
		}
	}
}

/* NULL: no memory. */
static struct generation *place(struct generations *generations, __u16 number)
{
	struct generation *generation = generations_find(generations, number);

	if (generation)
		return generation;
	if (number >= WEIGHT_LASTING_FIRST) {
		generation = calloc(1, sizeof(*generation));
		generations->lasting[number - WEIGHT_LASTING_FIRST] = generation;
		return generation;
	}
	generation = &generations->known[generations->next];
	add_totals(&generations->replaced, generation);
	memset(generation->selectors, 0, sizeof(generation->selectors));
	generations->next = (generations->next + 1) % WEIGHT_GENERATIONS;
	if (generations->count < WEIGHT_GENERATIONS)
		generations->count++;
	return generation;
}

void generations_free(struct generations *generations)
{
	for (unsigned int i = 0; i < WEIGHT_LASTING; i++)
		free(generations->lasting[i]);
}

int generations_set(struct generations *generations, const struct weight *weight, const struct selector *selectors,
		    unsigned int count)
{
	struct generation *generation;

	for (unsigned int i = 0; i < count; i++)
		if (selectors[i].number >= SELECTORS)
			return -EINVAL;
	generation = place(generations, weight->generation);
	if (!generation)
		return -ENOMEM;
	generation->weight = *weight;
	generation->rules = 0;
	generation->main = 0;
	for (unsigned int i = 0; i < count; i++) {
		generation->selectors[selectors[i].number].selector = selectors[i];
		if (selectors[i].number == SELECTOR_MAIN)
			generation->main = 1;
		else
			generation->rules |= 1ull << selectors[i].number;
	}
	if (weight->generation >= WEIGHT_LASTING_FIRST)
		end_selectors(generations, generation);
	return 0;
}

__u64 weight_of(const struct weight *weight, __u32 packets)
{
	if (packets <= WEIGHT_TABLE)
		return weight->table[packets];
	/* expm1 keeps its precision where (1 - p)^s is close to 1. The result is in [1, 2^32 / 65]. */
	return (__u64)(weight->scale * -0x1p32 / expm1(weight->log_miss * packets) + 0.5);
}

struct generation *generations_find(struct generations *generations, __u16 number)
{
	unsigned int recent = generations->recent;

	if (number >= WEIGHT_LASTING_FIRST)
		return generations->lasting[number - WEIGHT_LASTING_FIRST];
	if (recent < generations->count && generations->known[recent].weight.generation == number)
		return &generations->known[recent];
	for (unsigned int i = 0; i < generations->count; i++) {
		if (generations->known[i].weight.generation == number) {
			generations->recent = i;
			return &generations->known[i];
		}
	}
	return NULL;
}

static unsigned int generation_stats(const struct generation *generation, struct selector_stats *stats,
				     unsigned int limit)
{
	unsigned int found = 0;

	for (unsigned int number = 0; number < SELECTORS && found < limit; number++) {
		const struct counter *counter = &generation->selectors[number];

		if (has_selector(generation, number))
			stats[found++] = (struct selector_stats){
				.generation = generation->weight.generation, .number = number,
				.samples = counter->samples, .packets = counter->total.packets,
				.packets_estimate = counter->packets.total,
				.packets_variance = counter->packets.variance,
				.octets_estimate = counter->octets.total,
				.octets_variance = counter->octets.variance,
			};
	}
	return found;
}

unsigned int generations_stats(const struct generations *generations, struct selector_stats *stats, unsigned int limit)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < generations->count; i++)
		found += generation_stats(&generations->known[i], stats + found, limit - found);
	for (unsigned int i = 0; i < WEIGHT_LASTING; i++)
		if (generations->lasting[i])
			found += generation_stats(generations->lasting[i], stats + found, limit - found);
	return found;
}

__u64 generations_represented(const struct generations *generations)
{
	struct total sum = generations->replaced;

	for (unsigned int i = 0; i < generations->count; i++)
		add_totals(&sum, &generations->known[i]);
	for (unsigned int i = 0; i < WEIGHT_LASTING; i++)
		if (generations->lasting[i])
			add_totals(&sum, generations->lasting[i]);
	return sum.packets;
}
