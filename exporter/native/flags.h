/* Counts of TCP flags: where a flow has them, and how they grow. */
#ifndef XDPFIX_FLAGS_H
#define XDPFIX_FLAGS_H

#include <string.h>

#include "flow.h"

/*
 * A flow over IPv4 has its counts narrow as long as they are whole numbers: 32 bits
 * each, in the octets of its addresses that IPv4 leaves at 0, three in the source's and
 * three in the destination's. So it takes no line more than a flow without TCP. Any
 * other has them wide, in a line of their own (FLOW_FLAG_COUNTS): 32 bits, and 32 behind
 * the point. Either stays at the last number that 32 bits hold.
 */
static inline int flags_are_narrow(const struct flow *flow)
{
	return !(flow->hash & FLOW_FLAG_COUNTS) && flow->key.ip_version == 4 &&
	       flow->key.ip_protocol == FLOW_PROTOCOL_TCP;
}

/* Where the count of flag `bit` is in a narrow flow; not aligned for the compiler to know. */
static inline __u8 *flags_place(struct flow *flow, unsigned int bit)
{
	return flow->key.src_addr + 4 * (bit + (bit < 3 ? 1 : 2));
}

static inline __u32 flags_narrow(struct flow *flow, unsigned int bit)
{
	__u32 count;

	memcpy(&count, flags_place(flow, bit), sizeof(count));
	return count;
}

/* Add a whole number to a narrow count. */
static inline void flags_add_narrow(struct flow *flow, unsigned int bit, __u64 amount)
{
	__u64 sum = flags_narrow(flow, bit);
	__u32 count;

	if (__builtin_add_overflow(sum, amount, &sum) || sum >> 32)
		sum = 0xffffffff;
	count = (__u32)sum;
	memcpy(flags_place(flow, bit), &count, sizeof(count));
}

static inline void flags_clear_narrow(struct flow *flow)
{
	memset(flow->key.src_addr + 4, 0, sizeof(flow->key.src_addr) - 4);
	memset(flow->key.dst_addr + 4, 0, sizeof(flow->key.dst_addr) - 4);
}

/* The count, 32 bits and 32 behind the point; 0 where the flow has none. */
static inline __u64 flags_count(struct flow *flow, unsigned int bit)
{
	if (flow->hash & FLOW_FLAG_COUNTS)
		return flow_flag_counts(flow)[bit];
	return flags_are_narrow(flow) ? (__u64)flags_narrow(flow, bit) << 32 : 0;
}

#endif
