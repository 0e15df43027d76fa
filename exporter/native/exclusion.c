/* What is not counted: a direction that is switched off, the exporter's own traffic, BFD. */
#include <endian.h>
#include <string.h>

#include "cache.h"

#define BFD_CONTROL_PORT 3784	/* RFC 5881 section 4 */
#define BFD_ECHO_PORT 3785

static int is_own(const struct cache *cache, const struct flow_key *key)
{
	for (unsigned int i = 0; i < cache->endpoint_count; i++) {
		const struct cache_endpoint *own = &cache->endpoints[i];

		if (key->dst_port == own->dst_port && key->src_port == own->src_port &&
		    key->ip_protocol == own->protocol && key->ip_version == own->ip_version &&
		    !memcmp(key->src_addr, own->src_addr, 16) && !memcmp(key->dst_addr, own->dst_addr, 16))
			return 1;
	}
	return 0;
}

__u64 *cache_excluded_by(struct cache *cache, const struct flow_key *key)
{
	if (key->direction == DIRECTION_INGRESS && !cache->config.ingress)
		return &cache->stats.excluded_input;
	if (key->direction == DIRECTION_EGRESS && !cache->config.egress)
		return &cache->stats.excluded_output;
	return key->ip_version && is_own(cache, key) ? &cache->stats.excluded_own : NULL;
}

int flow_is_bfd(const struct flow_key *key)
{
	return key->ip_version && key->ip_protocol == FLOW_PROTOCOL_UDP &&
	       (key->dst_port == htobe16(BFD_CONTROL_PORT) || key->dst_port == htobe16(BFD_ECHO_PORT));
}
