/* One CPU's perf ring and the half-filled batch behind it, as memory: what ring.c reads of each CPU. */
#ifndef XDPFIX_CPURING_H
#define XDPFIX_CPURING_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>

#include "state.h"

struct cpu_ring {
	int fd;			/* perf event, -1 where there is none: the CPU is offline, or the memory is somebody's */
	struct perf_event_mmap_page *page;	/* NULL: no ring */
	__u64 next;		/* number of the first sample not yet accounted for */
	__u64 flushed;		/* samples below it had left the batch at the last peek */
	__u64 lost;		/* their batch found no room on the ring */
	bool drained;		/* the ring was read to its end since then */
};

/* Copy samples of full batches, `size` bytes of ring holding them, as far as `capacity` has room for whole ones. */
unsigned int cpu_ring_read(struct cpu_ring *ring, size_t size, struct sample *to, unsigned int capacity);

/* Copy what waits in the half-filled batch `live`: room for BATCH_SIZE samples. Returns how many. */
unsigned int cpu_ring_peek(struct cpu_ring *ring, const struct batch *live, struct sample *to);

#endif
