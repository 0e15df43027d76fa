/* Flows: which kind one is of. */
#include "flow.h"

enum { KEY_OTHER, KEY_VNI, KEY_GRE };

static unsigned int key_kind(const struct tunnel_key *tunnel)
{
	switch (tunnel->type) {
	case TUNNEL_VXLAN:
		return tunnel->key_length == 3 ? KEY_VNI : KEY_OTHER;
	case TUNNEL_GRE:
	case TUNNEL_IPSEC_GRE:
		/* 0 also stands for a header without the field: no key is told then rather than one that may not be there. */
		return tunnel->key_length == 4 && tunnel->key ? KEY_GRE : KEY_OTHER;
	default:
		return KEY_OTHER;
	}
}

static unsigned int tunnel_kind(const struct flow *flow)
{
	const struct tunnel_key *tunnel = &flow->key.tunnel;

	if (!(flow->hash & FLOW_TUNNEL) || tunnel->key_length > sizeof(tunnel->key))
		return 0;
	if (tunnel->ip_version != 4 && tunnel->ip_version != 6)
		return 0;
	return 1 + (tunnel->ip_version == 6) * 3 + key_kind(tunnel);
}

unsigned int flow_kind(const struct flow *flow)
{
	const struct flow_key *key = &flow->key;
	unsigned int verdict = !!(flow->hash & FLOW_VERDICT);
	unsigned int mpls = flow_is_mpls(key);
	unsigned int l2 = key->vlan_count < 2 ? key->vlan_count : 2;
	unsigned int l3 = key->ip_version == 4 ? 1 : key->ip_version == 6 ? 2 : 0;
	unsigned int l4 = l3 ? flow_l4(key) : FLOW_L4_OTHER;

	return ((((verdict * 2 + mpls) * 3 + l2) * 3 + l3) * 4 + l4) * 7 + tunnel_kind(flow);
}
