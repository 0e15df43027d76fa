/*
 * A timer wheel of flows with lazy re-check: an update of a flow moves nothing; when
 * a flow's slot comes round, expiry.c looks whether it is due and files it again if not.
 */
#ifndef XDPFIX_WHEEL_H
#define XDPFIX_WHEEL_H

#include "slab.h"

/*
 * A slot is 2^26 ns = 67 ms: timeouts are whole seconds. 1024 slots reach 68 s, past
 * the default active timeout; later deadlines wait in the last slot and are re-checked.
 */
#define WHEEL_SHIFT 26
#define WHEEL_SLOTS 1024u

struct wheel {
	__u64 tick;	/* of the slot looked at next */
	__u32 heads[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel);

/* Forget every flow, and go on from the same time. */
void wheel_clear(struct wheel *wheel);

/* File the flow under `deadline` (ns). A deadline in the past or in the current slot comes up in the next one. */
void wheel_add(struct wheel *wheel, struct slab *slab, __u32 id, __u64 deadline);
void wheel_remove(struct wheel *wheel, struct slab *slab, __u32 id);

/* When the first slot that has a flow begins (ns), WHEEL_NEVER where none has. */
#define WHEEL_NEVER (~0ull)
__u64 wheel_due(const struct wheel *wheel);

/* Take the next flow whose slot has begun at `now` (ns) out of the wheel, or NULL. */
struct flow *wheel_next(struct wheel *wheel, struct slab *slab, __u64 now);

#endif
