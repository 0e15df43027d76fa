/* The flow cache in C, for the sanitizers: growth, eviction, expiry and reuse of memory under random samples. */
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "cache.h"
#include "check.h"

#define SECOND 1000000000ull

/* The main one, and two rules of the 64: each takes a third. */
static const struct selector selectors[3] = {
	{ .number = SELECTOR_MAIN, .factor = 1, .unit = 1, .domain = 1, .point = 10 },
	{ .number = 0, .factor = 3, .unit = 1, .domain = 1, .point = 11 },
	{ .number = 63, .factor = 3, .factor_fraction = ~0ull, .unit = 1, .domain = 2, .point = 10 },
};

static struct weight weight_one(void)
{
	struct weight weight = { .log_miss = -INFINITY, .scale = 1, .generation = 0 };

	for (int i = 1; i <= WEIGHT_TABLE; i++)
		weight.table[i] = 1ull << 32;
	return weight;
}

/* Packets of generation 0 count for one, those of 2 for one and a half; 1 is not known. */
static struct cache *make(__u32 max_flows, __u64 active, __u64 idle, int full)
{
	struct cache_config config = { .active_timeout = active * SECOND, .idle_timeout = idle * SECOND,
				       .max_flows = max_flows, .ingress = 1, .egress = 1, .full = full };
	struct weight weight = weight_one();
	struct cache *cache;

	CHECK(!cache_create(&cache, &config, 42));
	CHECK(!cache_set_weight(cache, &weight, selectors, 3));
	for (int i = 1; i <= WEIGHT_TABLE; i++)
		weight.table[i] = 3ull << 31;
	weight.generation = 2;
	CHECK(!cache_set_weight(cache, &weight, selectors, 3));
	return cache;
}

static struct sample tcp(unsigned int port, __u64 time)
{
	struct sample sample = { 0 };

	sample.meta.time = time;
	sample.meta.main = 1;
	sample.meta.packets = 1;
	sample.meta.frame_octets = 54;
	sample.meta.ip_octets = sample.meta.ip_length = 40;
	sample.key.ip_version = 4;
	sample.key.ip_protocol = 6;
	sample.key.src_port = htobe16(port);
	return sample;
}

static void drain(struct cache *cache)
{
	struct flow *flows[64];
	unsigned int count;

	while ((count = cache_take(cache, flows, 64)))
		cache_release(cache, flows, count);
}

static void check_ledger(const struct cache *cache)
{
	struct cache_stats stats;

	cache_get_stats(cache, &stats);
	CHECK(stats.ingested == stats.selected + stats.unselected);
	CHECK(stats.pairs == stats.excluded_input + stats.excluded_output + stats.excluded_bfd +
			      stats.excluded_own + stats.lost_generation + stats.lost_memory +
			      stats.cached + stats.pending + stats.released);
}

/* More flows than a chunk and the first index hold; every one of them ends once. */
static void test_growth(void)
{
	struct cache *cache = make(100000, 60, 15, 1);
	struct cache_stats stats;

	for (unsigned int port = 0; port < 40000; port++) {
		struct sample sample = tcp(port, SECOND);

		cache_ingest(cache, &sample, 1);
	}
	cache_get_stats(cache, &stats);
	CHECK(stats.flows == 40000 && stats.created == 40000);
	CHECK(cache_expire(cache, 10 * SECOND, 1u << 30) == 0);
	CHECK(cache_expire(cache, 100 * SECOND, 5000) == 5000);
	CHECK(cache_expire(cache, 100 * SECOND, 1u << 30) == 35000);
	drain(cache);
	check_ledger(cache);
	cache_destroy(cache);
}

/* Other timeouts and limits, none among them. */
static void reconfigure(struct cache *cache, unsigned int random, int full)
{
	const struct cache_config config = { .active_timeout = random % 4 * 10 * SECOND,
					     .idle_timeout = random / 4 % 3 * SECOND,
					     .max_flows = random / 16 % 4 * 100, .ingress = 1, .egress = 1,
					     .full = full };
	const struct cache_config other = { .full = !full };
	int empty = !cache_pending(cache) && !cache_copy(cache, &(struct flow){ 0 }, 1);

	CHECK(!cache_set_config(cache, &config));
	CHECK(empty || cache_set_config(cache, &other) == -EBUSY);
}

/* Copies have every line of a flow, those that it has not as zeros. */
static void check_copies(const struct cache *cache)
{
	static struct flow copies[400];
	unsigned int count = cache_copy(cache, copies, 400);

	for (unsigned int i = 0; i < count; i++) {
		CHECK(!(copies[i].hash & FLOW_TUNNEL) == !copies[i].key.tunnel.type);
		CHECK(copies[i].key.ip_protocol == 6 || !copies[i].flag_counts[4]);
		CHECK(!copies[i].key.src_addr[15] && !copies[i].key.dst_addr[15]);
		CHECK(!(copies[i].hash & FLOW_VERDICT) == !copies[i].verdict.last);
		CHECK(copies[i].verdict.dropped_packets <= copies[i].packets);
		CHECK(flow_kind(&copies[i]) < FLOW_KINDS);
	}
}

static void test_random(__u64 mask, int full)
{
	struct cache *cache = make(300, 20, 5, full);
	unsigned int random = 12345;

	cache_set_hash_mask(cache, mask);
	for (unsigned int step = 0; step < 20000; step++) {
		struct sample batch[7];

		for (unsigned int i = 0; i < 7; i++) {
			random = random * 1103515245 + 12345;
			batch[i] = tcp((random >> 16) % 700, (1000 + step / 100) * SECOND);
			batch[i].meta.tcp_flags = (random >> 8) % 64 ? 0x10 : 0xfff;
			batch[i].key.ip_protocol = (random >> 9) % 3 ? 6 : 17;
			batch[i].key.ip_ttl = random >> 24;
			batch[i].meta.generation = (random >> 4) % 100 == 0 ? 1 : (random >> 4) % 100 < 20 ? 2 : 0;
			batch[i].meta.main = (random >> 24) % 4 > 0;
			batch[i].meta.rules = (__u64)((random >> 5) % 2) << 63 | (random >> 6) % 4;
			batch[i].key.tunnel.type = (random >> 20) % 3;
			batch[i].key.ethertype = htobe16((random >> 12) % 50 ? 0x0800 : 0x8847);
			batch[i].meta.verdict = random >> 28 ? (random >> 25) % 6 : random >> 16;
		}
		cache_ingest(cache, batch, 7);
		if (step % 1000 == 999)
			reconfigure(cache, random >> 16, full);
		cache_expire(cache, (1000 + step / 100) * SECOND, 10);
		if (step % 50 == 0)
			drain(cache);
		if (step % 500 == 0)
			check_copies(cache);
		check_ledger(cache);
	}
	cache_flush(cache, FLOW_END_FORCED, ~0u);
	drain(cache);
	check_ledger(cache);
	cache_destroy(cache);
}

/* Destroyed with flows living, pending and lists set. */
static void test_destroy(void)
{
	struct cache_point points[2] = { { 5, 50 }, { 1, 10 } };
	struct cache_endpoint endpoint = { .ip_version = 4 };
	struct cache *cache = make(10, 60, 15, 0);

	CHECK(!cache_set_points(cache, points, 2));
	CHECK(!cache_set_endpoints(cache, &endpoint, 1));
	CHECK(!cache_set_endpoints(cache, NULL, 0));
	for (unsigned int port = 0; port < 30; port++) {
		struct sample sample = tcp(port, SECOND);

		cache_ingest(cache, &sample, 1);
	}
	check_ledger(cache);
	cache_destroy(cache);
	cache_destroy(NULL);
}

/* Every selector at once, for more generations than are known: none is forgotten in the sum. */
static void test_selectors(void)
{
	struct selector all[SELECTORS], wrong = { .number = SELECTORS };
	struct selector_stats counted[SELECTORS * WEIGHT_GENERATIONS];
	struct cache *cache = make(100000, 60, 15, 0);
	struct weight weight = weight_one();
	struct cache_stats stats;
	unsigned int count;

	for (unsigned int i = 0; i < SELECTORS; i++)
		all[i] = (struct selector){ .number = i, .factor = 1, .domain = i % 3, .point = i };
	for (unsigned int generation = 0; generation < 20; generation++) {
		struct sample sample = tcp(1, SECOND);

		weight.generation = generation;
		CHECK(!cache_set_weight(cache, &weight, all, SELECTORS));
		sample.meta.generation = generation;
		sample.meta.rules = ~0ull;
		cache_ingest(cache, &sample, 1);
	}
	CHECK(cache_set_weight(cache, &weight, &wrong, 1) == -EINVAL);
	count = cache_get_selector_stats(cache, counted, SELECTORS * WEIGHT_GENERATIONS);
	CHECK(count == SELECTORS * WEIGHT_GENERATIONS);
	for (unsigned int i = 0; i < count; i++)
		CHECK(counted[i].samples == 1 && counted[i].packets == 1 && counted[i].generation >= 4);
	cache_get_stats(cache, &stats);
	CHECK(stats.flows == SELECTORS && stats.pairs == 20 * SELECTORS && stats.represented == stats.pairs);
	check_ledger(cache);
	cache_destroy(cache);
}

/* A generation that lasts is known however many pass, and keeps what it counted when more selectors come. */
static void test_lasting(void)
{
	struct selector both[2] = { { .number = 0, .factor = 2, .point = 1 }, { .number = 63, .factor = 3, .point = 2 } };
	struct cache *cache = make(100000, 60, 15, 0);
	struct weight weight = weight_one();
	struct selector_stats counted[2 * (WEIGHT_LASTING + WEIGHT_GENERATIONS)];
	struct cache_stats stats;
	unsigned int count;

	for (unsigned int i = 0; i < WEIGHT_LASTING; i++) {
		struct sample sample = tcp(1, SECOND);

		weight.generation = sample.meta.generation = WEIGHT_LASTING_FIRST + i;
		sample.meta.rules = 1;
		cache_ingest(cache, &sample, 1);
		CHECK(!cache_set_weight(cache, &weight, both, 1));
		cache_ingest(cache, &sample, 1);
		CHECK(!cache_set_weight(cache, &weight, both, 2));
		sample.meta.rules = 1ull << 63;
		cache_ingest(cache, &sample, 1);
	}
	for (unsigned int generation = 1; generation <= 2 * WEIGHT_GENERATIONS; generation++) {
		weight.generation = generation;
		CHECK(!cache_set_weight(cache, &weight, both, 1));
	}
	count = cache_get_selector_stats(cache, counted, 2 * (WEIGHT_LASTING + WEIGHT_GENERATIONS));
	CHECK(count == WEIGHT_GENERATIONS + 2 * WEIGHT_LASTING);
	for (unsigned int i = WEIGHT_GENERATIONS; i < count; i++) {
		CHECK(counted[i].generation == WEIGHT_LASTING_FIRST + (i - WEIGHT_GENERATIONS) / 2);
		CHECK(counted[i].samples == 1 && counted[i].packets == (counted[i].number ? 3 : 2));
	}
	CHECK(cache_get_selector_stats(cache, counted, 3) == 3);
	cache_get_stats(cache, &stats);
	CHECK(stats.lost_generation == WEIGHT_LASTING && stats.represented == 5 * WEIGHT_LASTING);
	/* A selector that it has no more ends there: another one of its number counts from 0. */
	weight.generation = WEIGHT_LASTING_FIRST;
	CHECK(!cache_set_weight(cache, &weight, both + 1, 1) && !cache_set_weight(cache, &weight, both, 2));
	count = cache_get_selector_stats(cache, counted, 2 * (WEIGHT_LASTING + WEIGHT_GENERATIONS));
	CHECK(count == WEIGHT_GENERATIONS + 2 * WEIGHT_LASTING);
	CHECK(!counted[WEIGHT_GENERATIONS].number && !counted[WEIGHT_GENERATIONS].samples);
	CHECK(counted[WEIGHT_GENERATIONS + 1].samples == 1 && counted[WEIGHT_GENERATIONS + 1].packets == 3);
	cache_get_stats(cache, &stats);
	CHECK(stats.represented == 5 * WEIGHT_LASTING);
	check_ledger(cache);
	cache_destroy(cache);
}

int main(void)
{
	test_selectors();
	test_lasting();
	test_growth();
	test_random(~0ull, 0);
	test_random(~0ull, 1);
	test_random(3, 1);
	test_random(0, 0);
	test_destroy();
	return 0;
}
