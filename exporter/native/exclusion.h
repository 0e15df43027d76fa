/* What is not counted: a direction that is switched off, the exporter's own traffic, BFD. Used by ingest.c. */
#ifndef XDPFIX_EXCLUSION_H
#define XDPFIX_EXCLUSION_H

#include "cache.h"

#define BFD_CONTROL_PORT 3784	/* RFC 5881 section 4 */
#define BFD_ECHO_PORT 3785

/* Whether it is a key of the exporter's own messages. */
int cache_is_own(const struct cache *cache, const struct flow_key *key);

/* The counter of why a sample stays out of the cache, whoever took it; NULL where it does not. */
static inline __u64 *cache_excluded_by(struct cache *cache, const struct flow_key *key)
{
	if (key->direction == DIRECTION_INGRESS && !cache->config.ingress)
		return &cache->stats.excluded_input;
	if (key->direction == DIRECTION_EGRESS && !cache->config.egress)
		return &cache->stats.excluded_output;
	return cache->endpoint_count && cache_is_own(cache, key) ? &cache->stats.excluded_own : NULL;
}

/* BFD: Open vSwitch leaves it out of what a bridge samples, but not out of what a flow's sample action does. */
static inline int flow_is_bfd(const struct flow_key *key)
{
	return key->ip_protocol == FLOW_PROTOCOL_UDP && key->ip_version &&
	       (key->dst_port == htobe16(BFD_CONTROL_PORT) || key->dst_port == htobe16(BFD_ECHO_PORT));
}

#endif
