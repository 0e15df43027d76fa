/* Flow keys: their size as bytes and the kind of flow they stand for. */
#include "flow.h"

enum { L4_OTHER, L4_PORTS, L4_ICMP, L4_TCP };

unsigned int flow_key_size(const struct flow_key *key)
{
	return key->tunnel.type ? sizeof(*key) : FLOW_KEY_PLAIN_SIZE;
}

static unsigned int l4_kind(const struct flow_key *key)
{
	switch (key->ip_protocol) {
	case 6:
		return L4_TCP;
	case 17:
	case 132:
		return L4_PORTS;
	case 1:
		return key->ip_version == 4 ? L4_ICMP : L4_OTHER;
	case 58:
		return key->ip_version == 6 ? L4_ICMP : L4_OTHER;
	default:
		return L4_OTHER;
	}
}

unsigned int flow_kind(const struct flow_key *key)
{
	unsigned int l2 = key->vlan_count > 0;
	unsigned int l3 = key->ip_version == 4 ? 1 : key->ip_version == 6 ? 2 : 0;
	unsigned int l4 = l3 ? l4_kind(key) : L4_OTHER;
	/* Elements for outer addresses exist for IPv4 alone; zeros in their place would be invented values. */
	unsigned int tunnel = key->tunnel.type && key->tunnel.ip_version == 4 && key->tunnel.key_length <= 8;

	return ((l2 * 3 + l3) * 4 + l4) * 2 + tunnel;
}
