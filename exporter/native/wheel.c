/* The timer wheel. */
#include "wheel.h"

/* In wheel_prev: this flow is first in the slot whose number is in the low bits. */
#define HEAD 0x80000000u

void wheel_init(struct wheel *wheel)
{
	wheel->tick = 0;
	wheel_clear(wheel);
}

void wheel_clear(struct wheel *wheel)
{
	for (unsigned int i = 0; i < WHEEL_SLOTS; i++)
		wheel->heads[i] = FLOW_NONE;
}

void wheel_add(struct wheel *wheel, struct slab *slab, __u32 id, __u64 deadline)
{
	struct filing *filing = slab_filing(slab, id);
	__u64 tick = deadline >> WHEEL_SHIFT;
	__u32 slot;

	if (tick <= wheel->tick)
		tick = wheel->tick + 1;
	if (tick >= wheel->tick + WHEEL_SLOTS)
		tick = wheel->tick + WHEEL_SLOTS - 1;
	slot = tick % WHEEL_SLOTS;
	filing->wheel_prev = HEAD | slot;
	filing->wheel_next = wheel->heads[slot];
	if (filing->wheel_next != FLOW_NONE)
		slab_filing(slab, filing->wheel_next)->wheel_prev = id;
	wheel->heads[slot] = id;
}

void wheel_remove(struct wheel *wheel, struct slab *slab, __u32 id)
{
	const struct filing *filing = slab_filing(slab, id);

	if (filing->wheel_prev & HEAD)
		wheel->heads[filing->wheel_prev & ~HEAD] = filing->wheel_next;
	else
		slab_filing(slab, filing->wheel_prev)->wheel_next = filing->wheel_next;
	if (filing->wheel_next != FLOW_NONE)
		slab_filing(slab, filing->wheel_next)->wheel_prev = filing->wheel_prev;
}

__u64 wheel_due(const struct wheel *wheel)
{
	for (__u64 tick = wheel->tick; tick < wheel->tick + WHEEL_SLOTS; tick++)
		if (wheel->heads[tick % WHEEL_SLOTS] != FLOW_NONE)
			return tick << WHEEL_SHIFT;
	return WHEEL_NEVER;
}

struct flow *wheel_next(struct wheel *wheel, struct slab *slab, __u64 now)
{
	__u64 tick = now >> WHEEL_SHIFT;

	/* After a long pause one turn visits every slot. */
	if (tick >= wheel->tick + WHEEL_SLOTS)
		wheel->tick = tick - WHEEL_SLOTS + 1;
	for (;; wheel->tick++) {
		__u32 id = wheel->heads[wheel->tick % WHEEL_SLOTS];

		if (wheel->tick > tick)
			return NULL;
		if (id != FLOW_NONE) {
			wheel_remove(wheel, slab, id);
			return slab_flow(slab, id);
		}
		if (wheel->tick == tick)
			return NULL;
	}
}
