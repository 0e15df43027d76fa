/* Expiry: living flows that are due leave the cache. */
#include "cache.h"

/*
 * Flows come out of the wheel in no order of memory. So they are taken ahead of time,
 * their lines prefetched; when so many are left before one of them, what it links to,
 * and then the chain that it is in.
 */
#define EXPIRE_AHEAD 32
#define EXPIRE_LINKS 16
#define EXPIRE_CHAIN 8

/* What ending the flow will touch: the index, and the filings of the flows created before and after it. */
static inline __attribute__((always_inline)) void prefetch_links(const struct cache *cache, const struct flow *flow)
{
	const struct filing *filing = slab_filing(&cache->slab, flow->id);

	__builtin_prefetch(&cache->buckets[flow->hash & cache->bucket_mask], 1);
	if (filing->older != FLOW_NONE)
		__builtin_prefetch(slab_filing(&cache->slab, filing->older), 1);
	if (filing->newer != FLOW_NONE)
		__builtin_prefetch(slab_filing(&cache->slab, filing->newer), 1);
}

/* And the flow that the chain of its bucket begins with. */
static inline __attribute__((always_inline)) void prefetch_chain(const struct cache *cache, const struct flow *flow)
{
	__u32 id = cache->buckets[flow->hash & cache->bucket_mask];

	if (id != FLOW_NONE)
		__builtin_prefetch(slab_flow(&cache->slab, id), 1);
}

/* End the flow if it is due, else file it again. Returns whether it ended. */
static int end_if_due(struct cache *cache, struct flow *flow, __u64 now)
{
	enum flow_end reason;
	__u64 deadline = cache_deadline(cache, flow, &reason);

	if (deadline > now) {
		wheel_add(&cache->wheel, &cache->slab, flow->id, deadline);
		return 0;
	}
	cache_end_unfiled(cache, flow, reason);
	return 1;
}

unsigned int cache_expire(struct cache *cache, __u64 now, unsigned int limit)
{
	struct flow *flow, *ahead[EXPIRE_AHEAD];
	unsigned int ended = 0, first = 0, count = 0;

	for (; ended < limit && cache->stats.flows > cache->config.max_flows; ended++)
		cache_end(cache, slab_flow(&cache->slab, cache->oldest), FLOW_END_RESOURCES);
	for (;;) {
		flow = ended + count < limit ? wheel_next(&cache->wheel, &cache->slab, now) : NULL;
		if (flow) {
			flow_prefetch(flow);
			ahead[(first + count++) % EXPIRE_AHEAD] = flow;
			if (count < EXPIRE_AHEAD)
				continue;
		}
		if (!count)
			return ended;
		if (count > EXPIRE_LINKS)
			prefetch_links(cache, ahead[(first + EXPIRE_LINKS) % EXPIRE_AHEAD]);
		if (count > EXPIRE_CHAIN)
			prefetch_chain(cache, ahead[(first + EXPIRE_CHAIN) % EXPIRE_AHEAD]);
		ended += end_if_due(cache, ahead[first], now);
		first = (first + 1) % EXPIRE_AHEAD;
		count--;
	}
}

__u64 cache_due(const struct cache *cache)
{
	if (cache->stats.flows > cache->config.max_flows)
		return 0;
	return cache->stats.flows ? wheel_due(&cache->wheel) : WHEEL_NEVER;
}
