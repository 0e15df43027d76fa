/* Flow keys: what of a packet tells its flow from others. */
#include <string.h>

#include "flow.h"

#define MPLS_TTL 0xff	/* RFC 3032 section 2.1; the key has what is in front: label, EXP and bottom of stack */

/* What profile "ovs" leaves of a labelled packet's key: layer 2, for no template of it tells one label from another. */
static void key_without_network(struct flow_key *copy, const struct flow_key *key)
{
	*copy = (struct flow_key){
		.ifindex = key->ifindex,
		.direction = key->direction,
		.ethernet_header_length = key->ethernet_header_length,
		.vlan_count = key->vlan_count,
		.ethertype = key->ethertype,
		.vlan_tci = { key->vlan_tci[0], key->vlan_tci[1] },
		.tunnel = key->tunnel,
	};
	memcpy(copy->src_mac, key->src_mac, sizeof(copy->src_mac));
	memcpy(copy->dst_mac, key->dst_mac, sizeof(copy->dst_mac));
}

/*
 * Profile "full": without the TTLs of IP and of the label. In vectors, because that is
 * how the hash reads it: what was stored in pieces cannot be loaded whole at once.
 */
static void key_without_ttl(struct flow_key *copy, const struct flow_key *key)
{
	const struct flow_key ttl = { .ip_ttl = 0xff, .mpls_label = htobe32(MPLS_TTL) };
	const flow_vector *from = (const flow_vector *)key, *without = (const flow_vector *)&ttl;
	flow_vector *to = (flow_vector *)copy;

	for (unsigned int i = 0; i < FLOW_KEY_PLAIN_SIZE / sizeof(flow_vector); i++)
		to[i] = from[i] & ~without[i];
	copy->tunnel.type = key->tunnel.type;
	if (key->tunnel.type)
		copy->tunnel = key->tunnel;
}

const struct flow_key *flow_key_counted(const struct flow_key *key, int full, struct flow_key *copy)
{
	if (!flow_is_mpls(key) && !(full && key->ip_ttl))
		return key;
	if (full)
		key_without_ttl(copy, key);
	else
		key_without_network(copy, key);
	return copy;
}

unsigned int flow_key_size(const struct flow_key *key)
{
	return key->tunnel.type ? sizeof(*key) : FLOW_KEY_PLAIN_SIZE;
}
