/* Flow keys and flows: layout asserts and the arithmetic of scaled counters. */
#ifndef XDPFIX_FLOW_H
#define XDPFIX_FLOW_H

#include "sample.h"
#include "flow.def.h"

_Static_assert(sizeof(struct flow) == 256, "a flow fills four cache lines");
_Static_assert(offsetof(struct flow, key) + FLOW_KEY_PLAIN_SIZE == 192, "a plain key ends with the third line");

/* In the hash: told apart here, keys with and without tunnel are compared without a look at the fourth line. */
#define FLOW_HASH_TUNNEL (1ull << 63)

/* No flow: the end of a list. Ids stay below 2^31 (see wheel.c). */
#define FLOW_NONE 0xffffffffu

#define FLOW_TCP_FIN 0x01
#define FLOW_TCP_RST 0x04

__extension__ typedef unsigned __int128 u128;

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

#endif
