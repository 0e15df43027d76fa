/* The flow cache: samples in, ended flows out. Declarations only: read by cc and cffi. Not thread-safe. */

/* Options of a cache. Times in ns. */
struct cache_config {
	__u64 active_timeout;	/* 0: no caching, every sample is a flow of its own */
	__u64 idle_timeout;	/* 0: none */
	__u32 max_flows;	/* 0: no caching */
	__u8 ingress;	/* take samples of this direction */
	__u8 egress;
	__u8 full;	/* keys and counts of profile "full": no TTL in the key, the MPLS label in it, flag counts, verdicts */
	__u8 reserved;
};

/* A 5-tuple that the exporter sends from and to. Ports in network byte order, IPv4 in the first 4 bytes. */
struct cache_endpoint {
	__u8 src_addr[16];
	__u8 dst_addr[16];
	__be16 src_port;
	__be16 dst_port;
	__u8 ip_version;
	__u8 protocol;	/* 6 TCP, 17 UDP, 132 SCTP */
	__u8 reserved[2];
};

struct cache_point {
	__u32 ifindex;
	__u32 point;
};

/*
 * Where the samples went: ingested = selected + unselected. A sample counts once for
 * each selector that took it: pairs = excluded_* + lost_* + cached + pending + released.
 * A sample of an unknown generation is taken for one of one selector. And flows by end.
 */
struct cache_stats {
	__u64 ingested;
	__u64 selected;	/* samples that a selector of this exporter took */
	__u64 unselected;	/* samples for other exporters alone */
	__u64 pairs;	/* of sample and selector */
	__u64 excluded_input;
	__u64 excluded_output;
	__u64 excluded_bfd;
	__u64 excluded_own;
	__u64 lost_generation;	/* no weight known for its generation */
	__u64 lost_memory;
	__u64 cached;	/* pairs in flows that live */
	__u64 pending;	/* pairs in flows that ended and were not taken and released yet */
	__u64 released;	/* pairs in flows handed to the encoder and given back */
	__u64 flows;	/* living flows */
	__u64 pending_flows;	/* ended and not taken yet */
	__u64 created;	/* flows that ever started */
	__u64 ended[6];	/* flows by enum flow_end */
	__u64 newest;	/* ns: the latest time that a sample carried */
	__u64 represented;	/* wire packets that the counted pairs stand for: the sum of their weights */
	__u64 ipv4_known;	/* counted samples of TCP, UDP, SCTP and ICMP (IPv6: ICMPv6), which Open vSwitch calls "ok" */
	__u64 ipv4_other;	/* and of any other protocol, its "errs"; those that are not IP are in neither */
	__u64 ipv6_known;
	__u64 ipv6_other;
};

struct cache;

/* `seed` keys the hash and should be random. Returns 0 or -ENOMEM, -EINVAL. */
int cache_create(struct cache **cache, const struct cache_config *config, __u64 seed);
void cache_destroy(struct cache *cache);

/* All flows get the same hash if 0. For tests of colliding keys. */
void cache_set_hash_mask(struct cache *cache, __u64 mask);

/* Added to monotonic time to make wall time, for flows that start from now on. */
void cache_set_wall_offset(struct cache *cache, __s64 offset);

/* Traffic of these 5-tuples is not counted. Replaces the list. 0 or -ENOMEM. */
int cache_set_endpoints(struct cache *cache, const struct cache_endpoint *endpoints, unsigned int count);

/* Observation points by interface, instead of the main selector's. Replaces the list. 0 or -ENOMEM. */
int cache_set_points(struct cache *cache, const struct cache_point *points, unsigned int count);

/*
 * Other options for a living cache. Flows have new deadlines at once; those that are
 * due or too many by them end with the next cache_expire(). 0, or -EBUSY where `full`
 * changes and there are flows, living or ended.
 */
int cache_set_config(struct cache *cache, const struct cache_config *config);

/* The weight and the selectors of a generation, instead of those it had. 0, -EINVAL for a selector's number, -ENOMEM. */
int cache_set_weight(struct cache *cache, const struct weight *weight, const struct selector *selectors,
		     unsigned int count);

/* What each selector of the known generations counted: up to `limit`; returns how many. */
unsigned int cache_get_selector_stats(const struct cache *cache, struct selector_stats *stats, unsigned int limit);

/* Count `count` samples. A selector that took one ends at most one flow by it. */
void cache_ingest(struct cache *cache, const struct sample *samples, unsigned int count);

/*
 * End up to `limit` flows that are due at `now` (ns), or too many since the limit was
 * lowered. Returns how many: `limit` means there may be more.
 */
unsigned int cache_expire(struct cache *cache, __u64 now, unsigned int limit);

/*
 * When cache_expire() has something to do next where no sample comes (ns), 0: now, ~0: never. A flow that has got
 * samples since it was filed may turn out to live on.
 */
__u64 cache_due(const struct cache *cache);

/* End up to `limit` living flows, the oldest first, for `reason` (enum flow_end). Returns how many. */
unsigned int cache_flush(struct cache *cache, unsigned int reason, unsigned int limit);

/* Let time begin anew, from any moment on. 0, or -EBUSY while there are flows, living or ended. */
int cache_rewind(struct cache *cache);

/* Take up to `limit` ended flows, in the order they ended. They are the caller's until given back. */
unsigned int cache_take(struct cache *cache, struct flow **flows, unsigned int limit);
void cache_release(struct cache *cache, struct flow **flows, unsigned int count);

/* Copy up to `limit` living flows, the oldest first. Returns how many. */
unsigned int cache_copy(const struct cache *cache, struct flow *flows, unsigned int limit);

/* Flows that ended and were not taken yet. */
__u64 cache_pending(const struct cache *cache);

void cache_get_stats(const struct cache *cache, struct cache_stats *stats);
