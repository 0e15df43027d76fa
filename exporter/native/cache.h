/* The flow cache: what cache.c (life of a flow), ingest.c (what a sample adds), expiry.c and exclusion.h share. */
#ifndef XDPFIX_CACHE_H
#define XDPFIX_CACHE_H

#include "flow.h"
#include "slab.h"
#include "weight.h"
#include "wheel.h"
#include "cache.def.h"

/*
 * How long a flow that showed a FIN or RST stays in the cache after its last packet:
 * the other end's FIN, the last ACKs and retransmissions belong to it. Linux
 * retransmits after 0.2 s, 0.4 s, 0.8 s: 2 s holds three of them.
 */
#define CACHE_LINGER 2000000000ull

struct cache {
	struct cache_config config;
	struct cache_stats stats;
	__u64 seed;
	__u64 hash_mask;
	__s64 wall_offset;
	__u32 *buckets;	/* chained hash index: first flow of each */
	__u32 bucket_mask;
	__u32 oldest;	/* living flows by creation, for lack of resources */
	__u32 newest;
	__u32 pending_first;	/* ended flows, linked by their filings' `newer` */
	__u32 pending_last;
	struct slab slab;
	struct wheel wheel;
	struct generations generations;
	struct cache_endpoint *endpoints;
	unsigned int endpoint_count;
	struct cache_point *points;	/* sorted by ifindex */
	unsigned int point_count;
};

static inline int cache_caches(const struct cache *cache)
{
	return cache->config.active_timeout && cache->config.max_flows;
}

/* A living flow, linked everywhere, its key and counters to be set before. */
void cache_insert(struct cache *cache, struct flow *flow);

/* When the flow is due (ns), and why. */
__u64 cache_deadline(const struct cache *cache, const struct flow *flow, enum flow_end *reason);

/* End a living flow that is in no slot of the wheel: see cache_end(). */
void cache_end_unfiled(struct cache *cache, struct flow *flow, enum flow_end reason);

/* End a living flow: out of index, wheel and creation order, into the pending ones. */
void cache_end(struct cache *cache, struct flow *flow, enum flow_end reason);

/* Put a flow that never lived among the pending ones. */
void cache_pend(struct cache *cache, struct flow *flow, enum flow_end reason);

/* A living flow gets the line of flag counts, and another place in memory by that. NULL where there is none. */
struct flow *cache_widen(struct cache *cache, struct flow *flow);

/* File a flow again because its deadline came nearer. */
void cache_hasten(struct cache *cache, struct flow *flow);

#endif
