/* Flow keys: what of a packet tells its flow from others. Used by ingest.c, and inlined into it. */
#ifndef XDPFIX_KEY_H
#define XDPFIX_KEY_H

#include "flow.h"

#define KEY_MPLS_TTL 0xff	/* RFC 3032 section 2.1; the key has what is in front: label, EXP and bottom of stack */

/* What profile "ovs" leaves of a labelled packet's key: layer 2, for no template of it tells one label from another. */
void key_without_network(struct flow_key *copy, const struct flow_key *key);

/*
 * Profile "full": without the TTLs of IP and of the label. In vectors, because that is
 * how the hash reads it: what was stored in pieces cannot be loaded whole at once.
 */
static inline void key_without_ttl(struct flow_key *copy, const struct flow_key *key)
{
	const struct flow_key ttl = { .ip_ttl = 0xff, .mpls_label = htobe32(KEY_MPLS_TTL) };
	const flow_vector *from = (const flow_vector *)key, *without = (const flow_vector *)&ttl;
	flow_vector *to = (flow_vector *)copy;

	for (unsigned int i = 0; i < FLOW_KEY_PLAIN_SIZE / sizeof(flow_vector); i++)
		to[i] = from[i] & ~without[i];
	copy->tunnel.type = key->tunnel.type;
	if (key->tunnel.type)
		copy->tunnel = key->tunnel;
}

/*
 * The key by which a packet is counted: its own, or `copy`, without what does not tell
 * flows apart. `full`: in profile "full".
 */
static inline const struct flow_key *key_counted(const struct flow_key *key, int full, struct flow_key *copy)
{
	if (full)
		key_without_ttl(copy, key);
	else if (flow_is_mpls(key))
		key_without_network(copy, key);
	else
		return key;
	return copy;
}

/* Bytes of it that identify the flow: the tunnel counts only where there is one. */
static inline unsigned int key_size(const struct flow_key *key)
{
	return key->tunnel.type ? sizeof(*key) : FLOW_KEY_PLAIN_SIZE;
}

#endif
