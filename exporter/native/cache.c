/* The flow cache. */
#include "cache.h"

unsigned int flow_key_size(const struct flow_key *key)
{
	return key->tunnel.type ? sizeof(*key) : FLOW_KEY_PLAIN_SIZE;
}
