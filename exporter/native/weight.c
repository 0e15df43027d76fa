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

/* The counter with the samples of one packet in its sums. */
static struct counter settled(const struct counter *counter)
{
	const struct singles *singles = &counter->singles;
	u128 weight = worth_weight(&counter->worth);
	double number = weight_number(weight) * counter->selector.unit;
	double squares = (double)((u128)singles->squares_high << 64 | singles->squares);
	struct counter sum = *counter;

	sum.samples += singles->samples;
	flow_count(&sum.total.packets, &sum.total.fraction, weigh(weight, singles->samples));
	sum.packets.total += number * singles->samples;
	sum.packets.variance += number * (number - 1) * singles->samples;
	sum.octets.total += number * singles->octets;
	sum.octets.variance += number * (number - 1) * squares;
	sum.singles = (struct singles){ .samples = 0 };
	return sum;
}

static void add_totals(struct total *sum, const struct generation *generation)
{
	for (unsigned int i = 0; i < SELECTORS; i++) {
		struct counter counter = settled(&generation->selectors[i]);

		add_total(sum, &counter.total);
	}
}

/* What was counted until now was by the weights of before. */
static void settle(struct generation *generation)
{
	for (unsigned int i = 0; i < SELECTORS; i++)
		generation->selectors[i] = settled(&generation->selectors[i]);
}

static void set_selector(struct generation *generation, const struct selector *selector)
{
	struct counter *counter = &generation->selectors[selector->number];

	counter->selector = *selector;
	counter->worth = worth_of(weight_for(selector, weight_of(&generation->weight, 1)));
	counter->spread = counter_spread(selector->domain, selector->point);
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
	settle(generation);
	generation->weight = *weight;
	generation->rules = 0;
	generation->main = 0;
	for (unsigned int i = 0; i < count; i++) {
		set_selector(generation, &selectors[i]);
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

struct generation *generations_search(struct generations *generations, __u16 number)
{
	if (number >= WEIGHT_LASTING_FIRST)
		return generations->lasting[number - WEIGHT_LASTING_FIRST];
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
		struct counter counter;

		if (!has_selector(generation, number))
			continue;
		counter = settled(&generation->selectors[number]);
		stats[found++] = (struct selector_stats){
			.generation = generation->weight.generation, .number = number,
			.samples = counter.samples, .packets = counter.total.packets,
			.packets_estimate = counter.packets.total,
			.packets_variance = counter.packets.variance,
			.octets_estimate = counter.octets.total,
			.octets_variance = counter.octets.variance,
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
