/* The way of samples into the flow cache: who took one, which flow it belongs to, what it adds. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "addition.h"
#include "cache.h"
#include "exclusion.h"
#include "key.h"

/*
 * Items looked up together: hashed, then prefetched, then counted, so that the
 * cache misses of a block overlap. Cores of today follow 10 to 24 misses at once:
 * 8 flows of 3 lines. With 65 536 flows in random order blocks of 16 to 64 took half
 * as long again a sample when this was chosen, and none prefetched twice as long.
 */
#define BLOCK 8

/* A sample and a selector that took it, on their way: the key as counted, and where the flow is to be found. */
struct item {
	const struct sample *sample;
	const struct flow_key *key;
	struct counter *counter;
	const struct worth *worth;	/* the counter's, or `own` */
	__u32 domain;	/* as in struct flow, with which the two are compared at once */
	__u32 point;
	__u32 hash;	/* with what the flow has, as struct flow */
	__u32 packets;
	struct worth own;
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

static inline int is_same(const struct flow *flow, const struct item *item)
{
	if ((flow->hash ^ item->hash) & FLOW_HASH_COMPARED ||
	    memcmp(&flow->domain, &item->domain, 2 * sizeof(item->domain)))
		return 0;
	if (item->hash & FLOW_TUNNEL)
		return flow_has_key(flow, item->key, sizeof(flow->key));
	return flow_has_key(flow, item->key, FLOW_KEY_PLAIN_SIZE);
}

static inline struct flow *find(const struct cache *cache, const struct item *item)
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

/* Whether what the sample adds to counts of TCP flags is no whole number. */
static int needs_wide(const struct cache *cache, const struct item *item)
{
	return cache->config.full && item->key->ip_protocol == FLOW_PROTOCOL_TCP && !item->worth->whole;
}

static __attribute__((noinline)) struct flow *start(struct cache *cache, const struct item *item)
{
	__u32 hash = item->hash | (needs_wide(cache, item) ? FLOW_FLAG_COUNTS : 0), id;
	unsigned int lines = flow_extra_lines(hash);
	struct flow *flow = slab_alloc(&cache->slab, lines);

	if (!flow)
		return NULL;
	id = flow->id;
	memset(flow, 0, FLOW_PLAIN_SIZE + lines * FLOW_LINE);
	memcpy(&flow->key, item->key, key_size(item->key));
	flow->id = id;
	flow->hash = hash;
	flow->domain = item->domain;
	flow->point = item->point;
	flow->ttl_min = flow->ttl_max = item->sample->key.ip_ttl;
	flow->wall_offset = cache->wall_offset;
	flow->first = flow->last = item->sample->meta.time;
	cache->stats.created++;
	return flow;
}

static void count_protocol(struct cache_stats *stats, const struct flow_key *key)
{
	int known = flow_l4(key) != FLOW_L4_OTHER;

	if (key->ip_version == 4)
		(*(known ? &stats->ipv4_known : &stats->ipv4_other))++;
	else if (key->ip_version == 6)
		(*(known ? &stats->ipv6_known : &stats->ipv6_other))++;
}

/* Out of line, for most weights are whole numbers. */
static __attribute__((noinline)) struct flow *add_fraction(struct cache *cache, struct flow *flow,
							   const struct item *item)
{
	if (!(flow->hash & FLOW_FLAG_COUNTS) && needs_wide(cache, item)) {
		flow = cache_widen(cache, flow);
		if (!flow)
			return NULL;
	}
	addition_add(flow, item->sample, item->packets, item->worth, cache->config.full, 0);
	return flow;
}

static inline void count_item(struct cache *cache, const struct item *item)
{
	struct flow *flow = cache_caches(cache) ? find(cache, item) : NULL;
	int known = flow != NULL;
	__u8 flags = 0;

	if (!known)
		flow = start(cache, item);
	if (flow) {
		flags = flow->tcp_flags;
		if (__builtin_expect(item->worth->whole != 0, 1))
			addition_add(flow, item->sample, item->packets, item->worth, cache->config.full, 1);
		else
			flow = add_fraction(cache, flow, item);
	}
	if (!flow) {
		cache->stats.lost_memory++;
		return;
	}
	if (__builtin_expect(item->hash & FLOW_VERDICT, 0))
		addition_verdict(flow, item->sample, item->packets, item->worth);
	counter_add(item->counter, item->worth, item->packets, item->sample->meta.ip_octets);
	count_protocol(&cache->stats, item->key);
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
			const struct flow *flow = slab_flow(&cache->slab, id);

			flow_prefetch(flow);
			for (unsigned int line = 0; line < flow_extra_lines(items[i].hash); line++)
				__builtin_prefetch((const char *)flow + FLOW_PLAIN_SIZE + line * FLOW_LINE, 1);
		}
	}
}

static __attribute__((noinline)) void count_block(struct cache *cache, struct block *block)
{
	if (cache_caches(cache))
		prefetch_flows(cache, block->items, block->count);
	for (unsigned int i = 0; i < block->count; i++)
		count_item(cache, &block->items[i]);
	block->count = 0;
}

/* The bits of the hash that say what lines the flow has from its start. */
static inline __u32 lines_of(const struct cache *cache, const struct sample *sample)
{
	__u32 lines = sample->key.tunnel.type ? FLOW_TUNNEL : 0;

	if (!cache->config.full)
		return lines;
	if (sample->key.ip_protocol == FLOW_PROTOCOL_TCP && sample->key.ip_version != 4)
		lines |= FLOW_FLAG_COUNTS;
	if (__builtin_expect(sample->meta.verdict != VERDICT_NONE, 0))
		lines |= FLOW_VERDICT;
	return lines;
}

static inline void add_item(struct cache *cache, struct block *block, const struct sample *sample,
			    const struct flow_key *key, __u64 hash, struct generation *generation, unsigned int number,
			    __u32 packets)
{
	struct counter *counter = &generation->selectors[number];
	struct item *item;
	__u64 spread;

	if (block->count == BLOCK)
		count_block(cache, block);
	cache->stats.pairs++;
	item = &block->items[block->count++];
	item->sample = sample;
	item->key = key;
	item->counter = counter;
	item->packets = packets;
	item->worth = &counter->worth;
	if (packets != 1) {
		item->own = worth_of(weight_for(&counter->selector, weight_of(&generation->weight, packets)));
		item->worth = &item->own;
	}
	item->domain = counter->selector.domain;
	item->point = counter->selector.point;
	spread = counter->spread;
	if (number == SELECTOR_MAIN && cache->point_count) {
		item->point = point_of(cache, key->ifindex, item->point);
		spread = counter_spread(item->domain, item->point);
	}
	item->hash = ((__u32)((hash ^ spread) & cache->hash_mask) & ~FLOW_LINES) | lines_of(cache, sample);
	__builtin_prefetch(&cache->buckets[item->hash & cache->bucket_mask]);
}

/* The hash of a key. Of a known size, which makes it shorter. */
static inline __u64 hash_of(const struct cache *cache, const struct flow_key *key)
{
	if (key->tunnel.type)
		return XXH3_64bits_withSeed(key, sizeof(*key), cache->seed);
	return XXH3_64bits_withSeed(key, FLOW_KEY_PLAIN_SIZE, cache->seed);
}

/* One item for each selector of this exporter that took the sample. */
static void add_sample(struct cache *cache, struct block *block, const struct sample *sample)
{
	const struct sample_meta *meta = &sample->meta;
	struct generation *generation = generations_find(&cache->generations, meta->generation);
	const struct flow_key *key;
	__u64 rules, hash, *excluded;
	__u32 packets;
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
	key = key_counted(&sample->key, cache->config.full, &block->keys[block->next_key]);
	if (key != &sample->key && ++block->next_key > BLOCK)
		block->next_key = 0;
	hash = hash_of(cache, key);
	packets = meta->packets ? meta->packets : 1;
	if (main)
		add_item(cache, block, sample, key, hash, generation, SELECTOR_MAIN, packets);
	for (; rules; rules &= rules - 1)
		add_item(cache, block, sample, key, hash, generation, __builtin_ctzll(rules), packets);
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
