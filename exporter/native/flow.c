/* Flows: which kind one is of, and what a sample adds. */
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

/*
 * Packets by flag. Of the wire packets of a super-packet only the last one has FIN and
 * PSH, as the kernel cuts and joins them; the other flags are those of its header.
 */
static void add_flags(__u64 *counts, unsigned int flags, __u32 packets, u128 weight)
{
	for (flags &= FLOW_TCP_COUNTED; flags; flags &= flags - 1) {
		unsigned int bit = __builtin_ctz(flags);

		flow_count_flag(&counts[bit], weigh(weight, 1u << bit & (FLOW_TCP_FIN | FLOW_TCP_PSH) ? 1 : packets));
	}
}

/* What is known of a flow and does not tell it from others. */
static void add_traits(struct flow *flow, const struct sample *sample)
{
	const struct flow_key *key = &sample->key;
	__u32 other = key->direction == DIRECTION_INGRESS ? sample->meta.egress_ifindex : sample->meta.ingress_ifindex;

	if (other)
		flow->other_ifindex = other;
	if (key->ip_ttl < flow->ttl_min)
		flow->ttl_min = key->ip_ttl;
	if (key->ip_ttl > flow->ttl_max)
		flow->ttl_max = key->ip_ttl;
	flow->tcp_flags |= sample->meta.tcp_flags;
	flow->fragment |= sample->meta.fragment;
}

void flow_add(struct flow *flow, const struct sample *sample, u128 weight)
{
	const struct sample_meta *meta = &sample->meta;
	__u32 packets = meta->packets ? meta->packets : 1;
	__u64 full = (__u64)(packets - 1) * meta->ip_length;
	__u64 last = meta->ip_octets > full ? meta->ip_octets - full : 0;
	__u64 squares = (__u64)(packets - 1) * meta->ip_length;

	if (meta->time < flow->first)
		flow->first = meta->time;
	if (meta->time > flow->last)
		flow->last = meta->time;
	flow_count(&flow->packets, &flow->packets_fraction, weigh(weight, packets));
	flow_count(&flow->frame_octets, &flow->frame_octets_fraction, weigh(weight, meta->frame_octets));
	flow->samples++;
	add_traits(flow, sample);
	if (flow->hash & FLOW_FLAG_COUNTS)
		add_flags(flow_flag_counts(flow), meta->tcp_flags, packets, weight);
	if (!meta->ip_octets)
		return;
	if (__builtin_mul_overflow(squares, (__u64)meta->ip_length, &squares) ||
	    __builtin_add_overflow(squares, last * last, &squares))
		squares = ~0ull;
	flow_count(&flow->ip_octets, &flow->ip_octets_fraction, weigh(weight, meta->ip_octets));
	flow_count(&flow->ip_octets_sumsq, &flow->ip_octets_sumsq_fraction, weigh(weight, squares));
	if (packets > 1 && meta->ip_length > flow->ip_length_max)
		flow->ip_length_max = meta->ip_length;
	if (last > flow->ip_length_max)
		flow->ip_length_max = last;
	if (packets > 1 && (!flow->ip_length_min || meta->ip_length < flow->ip_length_min))
		flow->ip_length_min = meta->ip_length;
	if (last && (!flow->ip_length_min || last < flow->ip_length_min))
		flow->ip_length_min = last;
}

void flow_add_verdict(struct flow *flow, const struct sample *sample, u128 weight)
{
	struct flow_verdict *verdict = flow_verdict(flow);
	const struct sample_meta *meta = &sample->meta;
	__u32 packets = meta->packets ? meta->packets : 1;
	int drop = verdict_is_drop(meta->verdict);

	if (!drop || verdict->last == VERDICT_NONE || verdict_is_drop(verdict->last))
		verdict->last = meta->verdict;
	if (!drop)
		return;
	flow_count(&verdict->dropped_packets, &verdict->dropped_packets_fraction, weigh(weight, packets));
	flow_count(&verdict->dropped_ip_octets, &verdict->dropped_ip_octets_fraction, weigh(weight, meta->ip_octets));
}
