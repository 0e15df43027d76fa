/* Additions: what a sample adds to its flow. Used by ingest.c alone, and inlined into it. */
#ifndef XDPFIX_ADDITION_H
#define XDPFIX_ADDITION_H

#include "flags.h"
#include "weight.h"

/* Add so many times the worth to a counter. `is_whole` is known where this is inlined: worth->whole != 0. */
static inline __attribute__((always_inline)) void
addition_count(__u64 *value, __u32 *fraction, const struct worth *worth, __u64 amount, int is_whole)
{
	__u64 product, sum;

	if (!is_whole) {
		flow_count(value, fraction, weigh(worth_weight(worth), amount));
	} else if (__builtin_expect(__builtin_mul_overflow(worth->whole, amount, &product) ||
				    __builtin_add_overflow(*value, product, &sum), 0)) {
		*value = ~(__u64)0;
		*fraction = 0;
	} else {
		*value = sum;
	}
}

/*
 * Packets by flag. Of the wire packets of a super-packet only the last one has FIN and
 * PSH, as the kernel cuts and joins them; the other flags are those of its header.
 */
static inline __attribute__((always_inline)) void
addition_flags(struct flow *flow, unsigned int flags, __u32 packets, const struct worth *worth, int is_whole)
{
	int narrow = is_whole && flags_are_narrow(flow);

	if (!narrow && !(flow->hash & FLOW_FLAG_COUNTS))
		return;
	for (; flags; flags &= flags - 1) {
		unsigned int bit = __builtin_ctz(flags);
		__u32 amount = 1u << bit & (FLOW_TCP_FIN | FLOW_TCP_PSH) ? 1 : packets;

		if (narrow)
			flags_add_narrow(flow, bit, worth->whole * amount);
		else
			flow_count_flag(&flow_flag_counts(flow)[bit], weigh(worth_weight(worth), amount));
	}
}

/* What is known of a flow and does not tell it from others. */
static inline void addition_traits(struct flow *flow, const struct sample *sample)
{
	const struct flow_key *key = &sample->key;
	const struct sample_meta *meta = &sample->meta;
	__u32 other = key->direction == DIRECTION_INGRESS ? meta->egress_ifindex : meta->ingress_ifindex;

	if (meta->time < flow->first)
		flow->first = meta->time;
	if (meta->time > flow->last)
		flow->last = meta->time;
	if (other)
		flow->other_ifindex = other;
	if (key->ip_ttl < flow->ttl_min)
		flow->ttl_min = key->ip_ttl;
	if (key->ip_ttl > flow->ttl_max)
		flow->ttl_max = key->ip_ttl;
	flow->tcp_flags |= meta->tcp_flags;
	flow->fragment |= meta->fragment;
	flow->samples++;
}

/* Lengths of IP, of which 0 stands for none yet: one less wraps to the longest. */
static inline void addition_length(struct flow *flow, __u32 length)
{
	if (length > flow->ip_length_max)
		flow->ip_length_max = length;
	if (length - 1 < flow->ip_length_min - 1)
		flow->ip_length_min = length;
}

/* The sum of the squares of the IP lengths of a sample's packets, of which the last may be shorter. */
static inline __u64 addition_squares(struct flow *flow, const struct sample_meta *meta, __u32 packets)
{
	__u64 full = (__u64)(packets - 1) * meta->ip_length;
	__u64 last = meta->ip_octets > full ? meta->ip_octets - full : 0;
	__u64 squares;

	if (last)
		addition_length(flow, last);
	if (packets == 1)
		return last * last;
	if (meta->ip_length)
		addition_length(flow, meta->ip_length);
	if (__builtin_mul_overflow(full, (__u64)meta->ip_length, &squares) ||
	    __builtin_add_overflow(squares, last * last, &squares))
		return ~0ull;
	return squares;
}

/*
 * Count the sample: every one of its wire packets with the same weight; `full`: TCP flags,
 * too, for which a flow that counts other than whole numbers has the line.
 */
static inline __attribute__((always_inline)) void
addition_add(struct flow *flow, const struct sample *sample, __u32 packets, const struct worth *worth, int full,
	     int is_whole)
{
	const struct sample_meta *meta = &sample->meta;

	addition_traits(flow, sample);
	addition_count(&flow->packets, &flow->packets_fraction, worth, packets, is_whole);
	addition_count(&flow->frame_octets, &flow->frame_octets_fraction, worth, meta->frame_octets, is_whole);
	if (full && meta->tcp_flags & FLOW_TCP_COUNTED)
		addition_flags(flow, meta->tcp_flags & FLOW_TCP_COUNTED, packets, worth, is_whole);
	if (!meta->ip_octets)
		return;
	addition_count(&flow->ip_octets, &flow->ip_octets_fraction, worth, meta->ip_octets, is_whole);
	addition_count(&flow->ip_octets_sumsq, &flow->ip_octets_sumsq_fraction, worth,
		       addition_squares(flow, meta, packets), is_whole);
}

/* Count what was dropped of it, in a flow that has a verdict. The flow is dropped only if all of its packets were. */
static inline void addition_verdict(struct flow *flow, const struct sample *sample, __u32 packets,
				    const struct worth *worth)
{
	struct flow_verdict *verdict = flow_verdict(flow);
	const struct sample_meta *meta = &sample->meta;
	u128 weight = worth_weight(worth);
	int drop = verdict_is_drop(meta->verdict);

	if (!drop || verdict->last == VERDICT_NONE || verdict_is_drop(verdict->last))
		verdict->last = meta->verdict;
	if (!drop)
		return;
	flow_count(&verdict->dropped_packets, &verdict->dropped_packets_fraction, weigh(weight, packets));
	flow_count(&verdict->dropped_ip_octets, &verdict->dropped_ip_octets_fraction, weigh(weight, meta->ip_octets));
}

#endif
