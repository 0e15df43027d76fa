/* What is not counted: the exporter's own traffic. */
#include <string.h>

#include "exclusion.h"

int cache_is_own(const struct cache *cache, const struct flow_key *key)
{
	if (!key->ip_version)
		return 0;
	for (unsigned int i = 0; i < cache->endpoint_count; i++) {
		const struct cache_endpoint *own = &cache->endpoints[i];

		if (key->dst_port == own->dst_port && key->src_port == own->src_port &&
		    key->ip_protocol == own->protocol && key->ip_version == own->ip_version &&
		    !memcmp(key->src_addr, own->src_addr, 16) && !memcmp(key->dst_addr, own->dst_addr, 16))
			return 1;
	}
	return 0;
}
