/* Flow keys and flows: layout asserts, which lines a flow has, and the arithmetic of scaled counters. */
#ifndef XDPFIX_FLOW_H
#define XDPFIX_FLOW_H

#include <endian.h>

#include "sample.h"
#include "flow.def.h"

#define FLOW_LINE 64u
#define FLOW_PLAIN_SIZE (3 * FLOW_LINE)

_Static_assert(offsetof(struct flow, key) + FLOW_KEY_PLAIN_SIZE == FLOW_PLAIN_SIZE, "a plain key ends with a line");
_Static_assert(offsetof(struct flow, flag_counts) == FLOW_PLAIN_SIZE + FLOW_LINE, "a tunnel takes one line");
_Static_assert(offsetof(struct flow, verdict) == FLOW_PLAIN_SIZE + 2 * FLOW_LINE, "the flag counts another");
_Static_assert(sizeof(struct flow) == FLOW_PLAIN_SIZE + 3 * FLOW_LINE, "and the verdict the last");

/*
 * In the hash: what lines the flow has. Keys with and without tunnel are told apart here,
 * without a look at the tunnel; so are packets of one key with and without a verdict, which
 * come when an interface's hook changes. The line of flag counts tells no flows apart: an
 * IPv4 flow gets it when it needs it (flags.h).
 */
#define FLOW_TUNNEL 0x80000000u
#define FLOW_FLAG_COUNTS 0x40000000u
#define FLOW_VERDICT 0x20000000u
#define FLOW_LINES (FLOW_TUNNEL | FLOW_FLAG_COUNTS | FLOW_VERDICT)
#define FLOW_LINES_SHIFT 29
#define FLOW_HASH_COMPARED (~FLOW_FLAG_COUNTS)

_Static_assert(FLOW_LINES >> FLOW_LINES_SHIFT == 7, "three bits, from the top one down");

/* No flow: the end of a list. Ids stay below 2^31 (see wheel.c). */
#define FLOW_NONE 0xffffffffu

#define FLOW_TCP_FIN 0x01
#define FLOW_TCP_RST 0x04
#define FLOW_TCP_PSH 0x08
#define FLOW_TCP_COUNTED 0x3f	/* FIN to URG */
#define FLOW_TCP_COUNTS 6

#define FLOW_ETHERTYPE_MPLS 0x8847
#define FLOW_ETHERTYPE_MPLS_UPSTREAM 0x8848
#define FLOW_PROTOCOL_ICMP 1
#define FLOW_PROTOCOL_TCP 6
#define FLOW_PROTOCOL_UDP 17
#define FLOW_PROTOCOL_ICMPV6 58
#define FLOW_PROTOCOL_SCTP 132

__extension__ typedef unsigned __int128 u128;

/* A part of a key: keys are compared and made in vectors, and hashed so. */
typedef __u64 flow_vector __attribute__((vector_size(16), aligned(8), may_alias));

_Static_assert(FLOW_KEY_PLAIN_SIZE % sizeof(flow_vector) == 0, "whole vectors");
_Static_assert(sizeof(struct flow_key) % sizeof(flow_vector) == 0, "whole vectors");

_Static_assert(offsetof(struct flow_key, src_addr) % sizeof(flow_vector) == 0, "an address is a vector");
_Static_assert(offsetof(struct flow_key, dst_addr) == offsetof(struct flow_key, src_addr) + 16, "and the other, too");

/* What of a flow's address is one: flags.h has counts behind IPv4's. */
static const union {
	__u8 octets[16];
	flow_vector vector;
} flow_address_masks[2] = {
	{ .octets = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 } },
	{ .octets = { 255, 255, 255, 255 } },
};

/* Whether this is the flow's key, by its first `size` bytes. */
static inline int flow_has_key(const struct flow *flow, const struct flow_key *key, unsigned int size)
{
	const flow_vector *own = (const flow_vector *)&flow->key, *other = (const flow_vector *)key;
	const flow_vector mask = flow_address_masks[key->ip_version == 4].vector;
	const unsigned int address = offsetof(struct flow_key, src_addr) / sizeof(flow_vector);
	flow_vector difference = { 0 };

	for (unsigned int i = 0; i < size / sizeof(flow_vector); i++) {
		flow_vector part = own[i];

		if (i == address || i == address + 1)
			part &= mask;
		difference |= part ^ other[i];
	}
	return !(difference[0] | difference[1]);
}

/*
 * Lines beyond the third of a flow with this hash: bits that are set among the top three,
 * from a table of four bits for each value. Adding them up costs a sample 0.7 ns.
 */
static inline unsigned int flow_extra_lines(__u32 hash)
{
	return 0x32212110u >> (hash >> FLOW_LINES_SHIFT) * 4 & 3;
}

/* Fetch the lines that any flow has. Inlined by force: gcc 12 drops a call of what only prefetches. */
static inline __attribute__((always_inline)) void flow_prefetch(const struct flow *flow)
{
	for (unsigned int line = 0; line < FLOW_PLAIN_SIZE / FLOW_LINE; line++)
		__builtin_prefetch((const char *)flow + line * FLOW_LINE, 1);
}

/* Where a flow that has flag counts has them. */
static inline __u64 *flow_flag_counts(struct flow *flow)
{
	return (__u64 *)((char *)flow + FLOW_PLAIN_SIZE + (flow->hash & FLOW_TUNNEL ? FLOW_LINE : 0));
}

/* Where a flow that has a verdict has it: in its last line. */
static inline struct flow_verdict *flow_verdict(struct flow *flow)
{
	return (struct flow_verdict *)((char *)flow + FLOW_PLAIN_SIZE + (flow_extra_lines(flow->hash) - 1) * FLOW_LINE);
}

/* Whether the packet went no further. */
static inline int verdict_is_drop(__u8 verdict)
{
	return verdict == VERDICT_DROP || verdict == VERDICT_ABORTED;
}

static inline int flow_is_mpls(const struct flow_key *key)
{
	return key->ethertype == htobe16(FLOW_ETHERTYPE_MPLS) || key->ethertype == htobe16(FLOW_ETHERTYPE_MPLS_UPSTREAM);
}

/* As flow_kind() counts them. */
enum flow_l4 { FLOW_L4_OTHER, FLOW_L4_PORTS, FLOW_L4_ICMP, FLOW_L4_TCP };

/* What is behind an IP header. */
static inline enum flow_l4 flow_l4(const struct flow_key *key)
{
	switch (key->ip_protocol) {
	case FLOW_PROTOCOL_TCP:
		return FLOW_L4_TCP;
	case FLOW_PROTOCOL_UDP:
	case FLOW_PROTOCOL_SCTP:
		return FLOW_L4_PORTS;
	case FLOW_PROTOCOL_ICMP:
		return key->ip_version == 4 ? FLOW_L4_ICMP : FLOW_L4_OTHER;
	case FLOW_PROTOCOL_ICMPV6:
		return key->ip_version == 6 ? FLOW_L4_ICMP : FLOW_L4_OTHER;
	default:
		return FLOW_L4_OTHER;
	}
}

/* A weight (96.32) times an amount, as far as there are numbers. */
static inline u128 weigh(u128 weight, __u64 amount)
{
	u128 product;

	if (__builtin_expect(!(weight >> 64), 1))	/* below 2^32 */
		return (u128)(__u64)weight * amount;
	return __builtin_mul_overflow(weight, (u128)amount, &product) ? ~(u128)0 : product;
}

/* Add `amount` (32 fraction bits) to a counter; at 2^64 - 1 it stays. */
static inline void flow_count(__u64 *value, __u32 *fraction, u128 amount)
{
	u128 sum;

	if (__builtin_add_overflow(((u128)*value << 32) | *fraction, amount, &sum) || sum >> 96) {
		*value = ~(__u64)0;
		*fraction = 0;
		return;
	}
	*value = (__u64)(sum >> 32);
	*fraction = (__u32)sum;
}

/* The same for a counter of 32 bits and 32 behind the point; below 2^32 it stays. */
static inline void flow_count_flag(__u64 *count, u128 amount)
{
	u128 sum;

	if (__builtin_add_overflow((u128)*count, amount, &sum) || sum >> 64)
		sum = ~(__u64)0;
	*count = (__u64)sum;
}

#endif
