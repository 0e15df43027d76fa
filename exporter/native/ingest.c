/* The way of samples into the flow cache: who took one, which flow it belongs to, what it adds. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cache.h"

/*
 * Items looked up together: hashed, then prefetched, then counted, so that the
 * cache misses of a block overlap. Cores of today follow 10 to 24 misses at once:
 * 8 flows of 3 lines. Measured with 65 536 flows in random order: 110 ns a sample,
 * against 160 in blocks of 16 to 64 and 230 without prefetching.
 */
#define BLOCK 8

/* A sample and a selector that took it, on their way: the key as counted, and where the flow is to be found. */
struct item {
	const struct sample *sample;
	const struct flow_key *key;
	struct counter *counter;
	__u64 weight;	/* 96.32, the low half: in halves, for gcc 12 moves a whole one by a load that its stores stall */
	__u64 weight_high;
	unsigned int size;	/* bytes of the key that count */
	__u32 domain;
	__u32 point;
	__u32 hash;	/* with what the flow has, as struct flow */
};

/* One key more than items: that of the sample whose selectors are being gone through stays while the items go. */
struct block {
	struct item items[BLOCK];
	struct flow_key keys[BLOCK + 1];
	unsigned int count;
	unsigned int next_key;
};

/* The main selector's point is the interface's where it has one. */
static __u32 point_of(const struct cache *cache, __u32 ifindex, __u32 point)
{
	unsigned int low = 0, high = cache->point_count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (cache->points[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < cache->point_count && cache->points[low].ifindex == ifindex)
		return cache->points[low].point;
	return point;
}

static int is_same(const struct flow *flow, const struct item *item)
{
	return flow->hash == item->hash && flow->point == item->point && flow->domain == item->domain &&
	       flow_key_is_same(&flow->key, item->key, item->size);
}

static struct flow *find(const struct cache *cache, const struct item *item)
{
	__u32 id = cache->buckets[item->hash & cache->bucket_mask];

	while (id != FLOW_NONE) {
		struct flow *flow = slab_flow(&cache->slab, id);

		if (is_same(flow, item))
			return flow;
		id = flow->index_next;
	}
	return NULL;
}

static struct flow *start(struct cache *cache, const struct item *item)
{
	unsigned int lines = flow_extra_lines(item->hash);
	struct flow *flow = slab_alloc(&cache->slab, lines);
	__u32 id;

	if (!flow)
		return NULL;
	id = flow->id;
	memset(flow, 0, FLOW_PLAIN_SIZE + lines * FLOW_LINE);
	memcpy(&flow->key, item->key, item->size);
	flow->id = id;
	flow->hash = item->hash;
	flow->domain = item->domain;
	flow->point = item->point;
	flow->ttl_min = flow->ttl_max = item->sample->key.ip_ttl;
	slab_filing(&cache->slab, id)->wall_offset = cache->wall_offset;
	flow->first = flow->last = item->sample->meta.time;
	cache->stats.created++;
	return flow;
}

static inline u128 weight_of_item(const struct item *item)
{
	return (u128)item->weight_high << 64 | item->weight;
}

static void count_protocol(struct cache_stats *stats, const struct flow_key *key)
{
	int known = flow_l4(key) != FLOW_L4_OTHER;

	if (key->ip_version == 4)
		(*(known ? &stats->ipv4_known : &stats->ipv4_other))++;
	else if (key->ip_version == 6)
		(*(known ? &stats->ipv6_known : &stats->ipv6_other))++;
}

static void count_selector(struct cache *cache, const struct item *item)
{
	struct counter *counter = item->counter;
	struct total *total = &counter->total;
	__u32 packets = item->sample->meta.packets ? item->sample->meta.packets : 1;
	u128 weight = weight_of_item(item);
	double number = weight_number(weight) * counter->selector.unit;

	counter->samples++;
	flow_count(&total->packets, &total->fraction, weigh(weight, packets));
	estimate_add(&counter->packets, number, packets);
	estimate_add(&counter->octets, number, item->sample->meta.ip_octets);
	count_protocol(&cache->stats, item->key);
}

static void count_item(struct cache *cache, const struct item *item)
{
	struct flow *flow = cache_caches(cache) ? find(cache, item) : NULL;
	int known = flow != NULL;
	__u8 flags;

	if (!known) {
		flow = start(cache, item);
		if (!flow) {
			cache->stats.lost_memory++;
			return;
		}
	}
	flags = flow->tcp_flags;
	flow_add(flow, item->sample, weight_of_item(item));
	if (__builtin_expect(item->hash & FLOW_VERDICT, 0))
		flow_add_verdict(flow, item->sample, weight_of_item(item));
	count_selector(cache, item);
	if (known) {
		cache->stats.cached++;
		if ((flow->tcp_flags & ~flags) & (FLOW_TCP_FIN | FLOW_TCP_RST))
			cache_hasten(cache, flow);
	} else if (cache_caches(cache)) {
		cache_insert(cache, flow);
	} else {
		cache_pend(cache, flow, cache->config.active_timeout ? FLOW_END_RESOURCES : FLOW_END_ACTIVE);
	}
}

/* Inlined by force: gcc 12 takes a function that only prefetches for one without effect and drops the call. */
static inline __attribute__((always_inline)) void
prefetch_flows(const struct cache *cache, const struct item *items, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		__u32 id = cache->buckets[items[i].hash & cache->bucket_mask];

		if (id != FLOW_NONE) {
			const char *flow = (const char *)slab_flow(&cache->slab, id);

			__builtin_prefetch(flow, 1);
			__builtin_prefetch(flow + 64, 1);
			__builtin_prefetch(flow + 128, 1);
			for (unsigned int line = 0; line < flow_extra_lines(items[i].hash); line++)
				__builtin_prefetch(flow + FLOW_PLAIN_SIZE + line * FLOW_LINE, 1);
		}
	}
}

static void count_block(struct cache *cache, struct block *block)
{
	if (cache_caches(cache))
		prefetch_flows(cache, block->items, block->count);
	for (unsigned int i = 0; i < block->count; i++)
		count_item(cache, &block->items[i]);
	block->count = 0;
}

/* So that one key has a place of its own for each domain and point. */
static inline __u64 spread(__u32 domain, __u32 point)
{
	__u64 product = ((__u64)domain << 32 | point) * 0x9e3779b97f4a7c15;

	return product ^ product >> 32;
}

static inline void add_item(struct cache *cache, struct block *block, const struct sample *sample,
			    const struct flow_key *key, unsigned int size, __u64 hash, struct counter *counter,
			    __u64 weight)
{
	const struct selector *selector = &counter->selector;
	struct item *item;
	u128 product;

	if (block->count == BLOCK)
		count_block(cache, block);
	cache->stats.pairs++;
	item = &block->items[block->count++];
	item->sample = sample;
	item->key = key;
	item->size = size;
	item->counter = counter;
	product = weight_for(selector, weight);
	item->weight = (__u64)product;
	item->weight_high = (__u64)(product >> 64);
	item->domain = selector->domain;
	item->point = selector->point;
	if (selector->number == SELECTOR_MAIN && cache->point_count)
		item->point = point_of(cache, key->ifindex, item->point);
	item->hash = (__u32)((hash ^ spread(item->domain, item->point)) & cache->hash_mask) & ~FLOW_LINES;
	if (item->size > FLOW_KEY_PLAIN_SIZE)
		item->hash |= FLOW_TUNNEL;
	if (cache->config.full && key->ip_protocol == FLOW_PROTOCOL_TCP)
		item->hash |= FLOW_FLAG_COUNTS;
	if (__builtin_expect(sample->meta.verdict != VERDICT_NONE, 0) && cache->config.full)
		item->hash |= FLOW_VERDICT;
	__builtin_prefetch(&cache->buckets[item->hash & cache->bucket_mask]);
}

/* One item for each selector of this exporter that took the sample. */
static void add_sample(struct cache *cache, struct block *block, const struct sample *sample)
{
	const struct sample_meta *meta = &sample->meta;
	struct generation *generation = generations_find(&cache->generations, meta->generation);
	const struct flow_key *key;
	struct flow_key *copy;
	__u64 rules, weight, hash, *excluded;
	unsigned int size;
	int main;

	rules = generation ? meta->rules & generation->rules : 0;
	main = generation ? meta->main && generation->main : 0;
	if (!rules && !main && (generation || !(meta->rules || meta->main))) {
		cache->stats.unselected++;
		return;
	}
	if (meta->time > cache->stats.newest)
		cache->stats.newest = meta->time;
	cache->stats.selected++;
	if (!generation) {
		cache->stats.pairs++;
		cache->stats.lost_generation++;
		return;
	}
	excluded = cache_excluded_by(cache, &sample->key);
	if (excluded) {
		unsigned int pairs = main + __builtin_popcountll(rules);

		cache->stats.pairs += pairs;
		*excluded += pairs;
		return;
	}
	if (main && flow_is_bfd(&sample->key)) {
		cache->stats.pairs++;
		cache->stats.excluded_bfd++;
		main = 0;
		if (!rules)
			return;
	}
	weight = weight_of(&generation->weight, meta->packets ? meta->packets : 1);
	copy = &block->keys[block->next_key];
	key = flow_key_counted(&sample->key, cache->config.full, copy);
	if (key == copy)
		block->next_key = (block->next_key + 1) % (BLOCK + 1);
	size = flow_key_size(key);
	hash = XXH3_64bits_withSeed(key, size, cache->seed);
	if (main)
		add_item(cache, block, sample, key, size, hash, &generation->selectors[SELECTOR_MAIN], weight);
	for (; rules; rules &= rules - 1)
		add_item(cache, block, sample, key, size, hash, &generation->selectors[__builtin_ctzll(rules)], weight);
}

void cache_ingest(struct cache *cache, const struct sample *samples, unsigned int count)
{
	struct block block;

	block.count = block.next_key = 0;
	cache->stats.ingested += count;
	for (unsigned int i = 0; i < count; i++)
		add_sample(cache, &block, &samples[i]);
	count_block(cache, &block);
}
