/* The flow cache: index, order and ends of flows. What a sample adds is in ingest.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "flags.h"

/* Buckets of a new cache; the index doubles when it holds more flows than half of them: short chains, few misses. */
#define CACHE_BUCKETS 1024u

int cache_create(struct cache **result, const struct cache_config *config, __u64 seed)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->buckets = malloc(CACHE_BUCKETS * sizeof(*cache->buckets));
	if (!cache->buckets) {
		free(cache);
		return -ENOMEM;
	}
	memset(cache->buckets, 0xff, CACHE_BUCKETS * sizeof(*cache->buckets));
	cache->bucket_mask = CACHE_BUCKETS - 1;
	cache->config = *config;
	cache->seed = seed;
	cache->hash_mask = ~0ull;
	cache->oldest = cache->newest = FLOW_NONE;
	cache->pending_first = cache->pending_last = FLOW_NONE;
	slab_init(&cache->slab);
	wheel_init(&cache->wheel);
	*result = cache;
	return 0;
}

void cache_destroy(struct cache *cache)
{
	if (!cache)
		return;
	slab_destroy(&cache->slab);
	generations_free(&cache->generations);
	free(cache->buckets);
	free(cache->endpoints);
	free(cache->points);
	free(cache);
}

void cache_set_hash_mask(struct cache *cache, __u64 mask)
{
	cache->hash_mask = mask;
}

void cache_set_wall_offset(struct cache *cache, __s64 offset)
{
	cache->wall_offset = offset;
}

int cache_set_weight(struct cache *cache, const struct weight *weight, const struct selector *selectors,
		     unsigned int count)
{
	return generations_set(&cache->generations, weight, selectors, count);
}

unsigned int cache_get_selector_stats(const struct cache *cache, struct selector_stats *stats, unsigned int limit)
{
	return generations_stats(&cache->generations, stats, limit);
}

/* A copy of an array, NULL where it is empty; -ENOMEM. */
static int duplicate(void **copy, const void *array, size_t octets)
{
	*copy = NULL;
	if (!octets)
		return 0;
	*copy = malloc(octets);
	if (!*copy)
		return -ENOMEM;
	memcpy(*copy, array, octets);
	return 0;
}

int cache_set_endpoints(struct cache *cache, const struct cache_endpoint *endpoints, unsigned int count)
{
	void *copy;

	if (duplicate(&copy, endpoints, count * sizeof(*endpoints)))
		return -ENOMEM;
	free(cache->endpoints);
	cache->endpoints = copy;
	cache->endpoint_count = count;
	return 0;
}

static int compare_points(const void *a, const void *b)
{
	__u32 left = ((const struct cache_point *)a)->ifindex;
	__u32 right = ((const struct cache_point *)b)->ifindex;

	return (left > right) - (left < right);
}

int cache_set_points(struct cache *cache, const struct cache_point *points, unsigned int count)
{
	void *copy;

	if (duplicate(&copy, points, count * sizeof(*points)))
		return -ENOMEM;
	if (count)
		qsort(copy, count, sizeof(*points), compare_points);
	free(cache->points);
	cache->points = copy;
	cache->point_count = count;
	return 0;
}

/* When the flow is due (ns), and why. */
static __u64 flow_deadline(const struct cache *cache, const struct flow *flow, enum flow_end *reason)
{
	__u64 deadline = flow->first + cache->config.active_timeout;
	__u64 idle = flow->last + cache->config.idle_timeout;
	__u64 linger = flow->last + CACHE_LINGER;

	*reason = FLOW_END_ACTIVE;
	if (cache->config.idle_timeout && idle < deadline) {
		deadline = idle;
		*reason = FLOW_END_IDLE;
	}
	if (flow->tcp_flags & (FLOW_TCP_FIN | FLOW_TCP_RST) && linger <= deadline) {
		deadline = linger;
		*reason = FLOW_END_DETECTED;
	}
	return deadline;
}

/* Twice the buckets. Short of memory the chains get longer instead. */
static void index_grow(struct cache *cache)
{
	size_t count = ((size_t)cache->bucket_mask + 1) * 2;
	__u32 *buckets = malloc(count * sizeof(*buckets));

	if (!buckets)
		return;
	memset(buckets, 0xff, count * sizeof(*buckets));
	free(cache->buckets);
	cache->buckets = buckets;
	cache->bucket_mask = (__u32)(count - 1);
	for (__u32 id = cache->oldest; id != FLOW_NONE;) {
		struct flow *flow = slab_flow(&cache->slab, id);
		__u32 *bucket = &buckets[flow->hash & cache->bucket_mask];

		flow->index_next = *bucket;
		*bucket = id;
		id = flow->newer;
	}
}

void cache_insert(struct cache *cache, struct flow *flow)
{
	enum flow_end reason;
	__u32 *bucket;

	if (cache->stats.flows > cache->bucket_mask / 2 && cache->bucket_mask < FLOW_VERDICT - 1)
		index_grow(cache);
	bucket = &cache->buckets[flow->hash & cache->bucket_mask];
	flow->index_next = *bucket;
	*bucket = flow->id;

	flow->older = cache->newest;
	flow->newer = FLOW_NONE;
	if (cache->newest != FLOW_NONE)
		slab_flow(&cache->slab, cache->newest)->newer = flow->id;
	else
		cache->oldest = flow->id;
	cache->newest = flow->id;

	wheel_add(&cache->wheel, &cache->slab, flow->id, flow_deadline(cache, flow, &reason));
	cache->stats.flows++;
	cache->stats.cached += flow->samples;
	if (cache->stats.flows > cache->config.max_flows)
		cache_end(cache, slab_flow(&cache->slab, cache->oldest), FLOW_END_RESOURCES);
}

static __u64 wall_time(__u64 monotonic, __s64 offset)
{
	__s64 wall = (__s64)monotonic + offset;

	return wall > 0 ? (__u64)wall : 0;
}

void cache_pend(struct cache *cache, struct flow *flow, enum flow_end reason)
{
	__s64 offset = slab_filing(&cache->slab, flow->id)->wall_offset;

	flow->first = wall_time(flow->first, offset);
	flow->last = wall_time(flow->last, offset);
	flow->end_reason = reason;
	flow->newer = FLOW_NONE;
	if (cache->pending_last != FLOW_NONE)
		slab_flow(&cache->slab, cache->pending_last)->newer = flow->id;
	else
		cache->pending_first = flow->id;
	cache->pending_last = flow->id;
	cache->stats.pending += flow->samples;
	cache->stats.pending_flows++;
	cache->stats.ended[reason]++;
}

/* Where the index points to the flow. */
static __u32 *index_link(struct cache *cache, const struct flow *flow)
{
	__u32 *link = &cache->buckets[flow->hash & cache->bucket_mask];

	while (*link != flow->id)
		link = &slab_flow(&cache->slab, *link)->index_next;
	return link;
}

/* Let the flows created before and after this one take `newer` and `older` for their neighbours. */
static void order_set(struct cache *cache, const struct flow *flow, __u32 newer, __u32 older)
{
	if (flow->older != FLOW_NONE)
		slab_flow(&cache->slab, flow->older)->newer = newer;
	else
		cache->oldest = newer;
	if (flow->newer != FLOW_NONE)
		slab_flow(&cache->slab, flow->newer)->older = older;
	else
		cache->newest = older;
}

void cache_end(struct cache *cache, struct flow *flow, enum flow_end reason)
{
	wheel_remove(&cache->wheel, &cache->slab, flow->id);
	*index_link(cache, flow) = flow->index_next;
	order_set(cache, flow, flow->newer, flow->older);
	cache->stats.flows--;
	cache->stats.cached -= flow->samples;
	cache_pend(cache, flow, reason);
}

struct flow *cache_widen(struct cache *cache, struct flow *flow)
{
	__u32 hash = flow->hash | FLOW_FLAG_COUNTS;
	struct flow *wide = slab_alloc(&cache->slab, flow_extra_lines(hash));
	enum flow_end reason;
	__u32 id;

	if (!wide)
		return NULL;
	id = wide->id;
	memcpy(wide, flow, FLOW_PLAIN_SIZE + (hash & FLOW_TUNNEL ? FLOW_LINE : 0));
	wide->id = id;
	wide->hash = hash;
	for (unsigned int bit = 0; bit < FLOW_TCP_COUNTS; bit++)
		flow_flag_counts(wide)[bit] = flags_count(flow, bit);
	flags_clear_narrow(wide);
	if (hash & FLOW_VERDICT)
		*flow_verdict(wide) = *flow_verdict(flow);

	wheel_remove(&cache->wheel, &cache->slab, flow->id);
	*slab_filing(&cache->slab, id) = *slab_filing(&cache->slab, flow->id);
	wheel_add(&cache->wheel, &cache->slab, id, flow_deadline(cache, wide, &reason));
	*index_link(cache, flow) = id;
	order_set(cache, flow, id, id);
	slab_free(&cache->slab, flow);
	return wide;
}

void cache_hasten(struct cache *cache, struct flow *flow)
{
	enum flow_end reason;

	wheel_remove(&cache->wheel, &cache->slab, flow->id);
	wheel_add(&cache->wheel, &cache->slab, flow->id, flow_deadline(cache, flow, &reason));
}

/* In order of creation, which is seldom far from that of memory. */
int cache_set_config(struct cache *cache, const struct cache_config *config)
{
	enum flow_end reason;

	if (config->full != cache->config.full && (cache->stats.flows || cache->stats.pending))
		return -EBUSY;
	cache->config = *config;
	wheel_clear(&cache->wheel);
	for (__u32 id = cache->oldest; id != FLOW_NONE;) {
		struct flow *flow = slab_flow(&cache->slab, id);

		wheel_add(&cache->wheel, &cache->slab, id, flow_deadline(cache, flow, &reason));
		id = flow->newer;
	}
	return 0;
}

unsigned int cache_expire(struct cache *cache, __u64 now, unsigned int limit)
{
	unsigned int ended = 0;
	struct flow *flow;

	for (; ended < limit && cache->stats.flows > cache->config.max_flows; ended++)
		cache_end(cache, slab_flow(&cache->slab, cache->oldest), FLOW_END_RESOURCES);
	while (ended < limit && (flow = wheel_next(&cache->wheel, &cache->slab, now))) {
		enum flow_end reason;
		__u64 deadline = flow_deadline(cache, flow, &reason);

		wheel_add(&cache->wheel, &cache->slab, flow->id, deadline);
		if (deadline <= now) {
			cache_end(cache, flow, reason);
			ended++;
		}
	}
	return ended;
}

__u64 cache_due(const struct cache *cache)
{
	if (cache->stats.flows > cache->config.max_flows)
		return 0;
	return cache->stats.flows ? wheel_due(&cache->wheel) : WHEEL_NEVER;
}

unsigned int cache_flush(struct cache *cache, unsigned int reason, unsigned int limit)
{
	unsigned int ended = 0;

	for (; ended < limit && cache->oldest != FLOW_NONE; ended++)
		cache_end(cache, slab_flow(&cache->slab, cache->oldest), reason);
	return ended;
}

int cache_rewind(struct cache *cache)
{
	if (cache->stats.flows || cache->stats.pending_flows)
		return -EBUSY;
	wheel_init(&cache->wheel);
	cache->stats.newest = 0;
	return 0;
}

unsigned int cache_take(struct cache *cache, struct flow **flows, unsigned int limit)
{
	unsigned int taken = 0;

	for (; taken < limit && cache->pending_first != FLOW_NONE; taken++) {
		flows[taken] = slab_flow(&cache->slab, cache->pending_first);
		cache->pending_first = flows[taken]->newer;
	}
	if (cache->pending_first == FLOW_NONE)
		cache->pending_last = FLOW_NONE;
	cache->stats.pending_flows -= taken;
	return taken;
}

void cache_release(struct cache *cache, struct flow **flows, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		cache->stats.pending -= flows[i]->samples;
		cache->stats.released += flows[i]->samples;
		slab_free(&cache->slab, flows[i]);
	}
}

unsigned int cache_copy(const struct cache *cache, struct flow *flows, unsigned int limit)
{
	__u32 id = cache->oldest;
	unsigned int copied = 0;

	for (; copied < limit && id != FLOW_NONE; copied++) {
		struct flow *flow = slab_flow(&cache->slab, id);

		memset(&flows[copied], 0, sizeof(*flow));
		memcpy(&flows[copied], flow, FLOW_PLAIN_SIZE);
		if (flow->hash & FLOW_TUNNEL)
			flows[copied].key.tunnel = flow->key.tunnel;
		for (unsigned int bit = 0; bit < FLOW_TCP_COUNTS; bit++)
			flows[copied].flag_counts[bit] = flags_count(flow, bit);
		if (flags_are_narrow(flow))
			flags_clear_narrow(&flows[copied]);
		if (flow->hash & FLOW_VERDICT)
			flows[copied].verdict = *flow_verdict(flow);
		id = flow->newer;
	}
	return copied;
}

__u64 cache_pending(const struct cache *cache)
{
	return cache->stats.pending_flows;
}

void cache_get_stats(const struct cache *cache, struct cache_stats *stats)
{
	*stats = cache->stats;
	stats->represented = generations_represented(&cache->generations);
}
