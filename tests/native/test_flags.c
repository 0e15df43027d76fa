/* Counts of TCP flags in C, for the sanitizers: narrow ones, wide ones, and flows that change from one to the other. */
#include <math.h>
#include <string.h>

#include "cache.h"
#include "check.h"
#include "encode.h"
#include "flags.h"

#define SECOND 1000000000ull
#define FLOWS 40
#define HALVES (3ull << 31)	/* 1.5 */

/* What the cache is to hold, by flow in the order of their creation. */
struct model {
	__u64 packets;	/* in halves, as the flags' counts */
	__u64 flags[FLOW_TCP_COUNTS];
};

static const struct selector selector = { .number = SELECTOR_MAIN, .factor = 1, .unit = 1 };

/* Generation 0: every packet counts for one; 1: for one and a half; 2: for as many as there can be. */
static struct cache *make(__u64 mask)
{
	const struct cache_config config = { .active_timeout = 60 * SECOND, .idle_timeout = 60 * SECOND,
					     .max_flows = FLOWS, .ingress = 1, .full = 1 };
	const __u64 weights[] = { 1ull << 32, HALVES, ~0ull << 32 };
	struct cache *cache;

	CHECK(!cache_create(&cache, &config, 42));
	cache_set_hash_mask(cache, mask);
	for (unsigned int i = 0; i < 3; i++) {
		struct weight weight = { .scale = 1, .log_miss = -INFINITY, .generation = i };

		for (unsigned int packets = 1; packets <= WEIGHT_TABLE; packets++)
			weight.table[packets] = weights[i];
		CHECK(!cache_set_weight(cache, &weight, &selector, 1));
	}
	return cache;
}

/* Flows differ by port and by what lines they have: over IPv4 or IPv6, in a tunnel, with a verdict. */
static struct sample sample_of(unsigned int flow)
{
	struct sample sample = { 0 };

	sample.meta.time = SECOND;
	sample.meta.main = 1;
	sample.meta.packets = 1;
	sample.meta.verdict = flow % 5 == 0 ? VERDICT_PASS : VERDICT_NONE;
	sample.key.ip_version = flow % 3 ? 4 : 6;
	sample.key.ip_protocol = FLOW_PROTOCOL_TCP;
	sample.key.src_port = flow;
	sample.key.tunnel.type = flow % 4 == 0 ? TUNNEL_VXLAN : TUNNEL_NONE;
	memset(sample.key.src_addr, 1, sample.key.ip_version == 4 ? 4 : 16);
	memset(sample.key.dst_addr, 2, sample.key.ip_version == 4 ? 4 : 16);
	return sample;
}

static void count(struct cache *cache, struct model *model, unsigned int flow, unsigned int random, int halves)
{
	struct sample sample = sample_of(flow);
	__u64 weight = halves ? 3 : 2;

	sample.meta.generation = halves;
	sample.meta.tcp_flags = random >> 8 & 0xfff;
	sample.meta.packets = random >> 20 & 3 ? 1 : 3;
	cache_ingest(cache, &sample, 1);
	model->packets += weight * sample.meta.packets;
	for (unsigned int bit = 0; bit < FLOW_TCP_COUNTS; bit++)
		if (sample.meta.tcp_flags >> bit & 1)
			model->flags[bit] += weight * (1u << bit & (FLOW_TCP_FIN | FLOW_TCP_PSH) ? 1 : sample.meta.packets);
}

static void check(const struct cache *cache, const struct model *model)
{
	static struct flow copies[FLOWS];

	CHECK(cache_copy(cache, copies, FLOWS) == FLOWS);
	for (unsigned int i = 0; i < FLOWS; i++) {
		struct sample sample = sample_of(i);

		CHECK(copies[i].packets * 2 + (copies[i].packets_fraction >> 31) == model[i].packets);
		for (unsigned int bit = 0; bit < FLOW_TCP_COUNTS; bit++)
			CHECK(copies[i].flag_counts[bit] >> 31 == model[i].flags[bit]);
		CHECK(!memcmp(&copies[i].key, &sample.key, sizeof(sample.key)));
		CHECK(copies[i].verdict.last == sample.meta.verdict);
	}
}

/* Whatever is counted in whatever order, in chains of one and of all flows; and no flow changes its place among them. */
static void test_counts(__u64 mask)
{
	struct model model[FLOWS] = { 0 };
	struct cache *cache = make(mask);
	unsigned int random = 54321;

	for (unsigned int i = 0; i < FLOWS; i++)
		count(cache, &model[i], i, 0, i % 8 == 7);
	check(cache, model);
	for (unsigned int step = 0; step < 5000; step++) {
		random = random * 1103515245 + 12345;
		/* At first of whole numbers only, and some flows for good. */
		count(cache, &model[(random >> 16) % FLOWS], (random >> 16) % FLOWS, random,
		      step > 1000 && (random >> 16) % FLOWS % 2 && random >> 29 == 0);
		if (step % 100 == 0)
			check(cache, model);
	}
	check(cache, model);
	CHECK(cache_expire(cache, 100 * SECOND, ~0u) == FLOWS);
	cache_destroy(cache);
}

/* At what 32 bits hold a count stays, narrow or wide. */
static void test_end(unsigned int flow)
{
	struct sample sample = sample_of(flow);
	struct cache *cache = make(~0ull);
	struct flow copy;

	sample.meta.generation = 2;
	sample.meta.tcp_flags = 0x10;
	for (unsigned int i = 0; i < 3; i++) {
		cache_ingest(cache, &sample, 1);
		CHECK(cache_copy(cache, &copy, 1) == 1);
		CHECK(copy.flag_counts[4] >> 32 == 0xffffffff && !copy.flag_counts[0]);
	}
	cache_destroy(cache);
}

/* A flow over IPv4 takes no more memory for its flags, until it counts other than whole numbers. */
static void test_lines(void)
{
	struct sample sample = sample_of(1);
	struct cache *cache = make(~0ull);
	struct flow *flow;

	for (unsigned int generation = 0; generation < 2; generation++) {
		sample.meta.generation = generation;
		sample.meta.tcp_flags = 0x3f;
		cache_ingest(cache, &sample, 1);
		cache_ingest(cache, &sample, 1);
		CHECK(cache_flush(cache, FLOW_END_FORCED, 1) == 1);
		CHECK(cache_take(cache, &flow, 1) == 1);
		CHECK(flow_extra_lines(flow->hash) == generation);
		CHECK(flags_count(flow, 5) == (generation ? 2 * HALVES : 2ull << 32));
		cache_release(cache, &flow, 1);
	}
	cache_destroy(cache);
}

int main(void)
{
	test_counts(~0ull);
	test_counts(0);
	test_end(1);
	test_end(3);
	test_lines();
	return 0;
}
