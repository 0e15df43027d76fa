/* Flow keys: those that lose more than a few bits. */
#include <string.h>

#include "key.h"

void key_without_network(struct flow_key *copy, const struct flow_key *key)
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
