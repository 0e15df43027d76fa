/*
 * The reader of one CPU's perf ring. Its samples are numbered by the batch's sequence,
 * so each is handed out once, whether it came on the ring or out of a half-filled
 * batch, and a gap in the numbers is a loss, known to the sample.
 */
#include <string.h>

#include "cpuring.h"

/* A record of ours: perf's header, the length of the raw data, the batch. */
#define RECORD_DATA (sizeof(struct perf_event_header) + sizeof(__u32))

/* Copy out of a ring's data area, where a record may continue at the start. */
static void copy_wrapped(const struct cpu_ring *ring, size_t ring_size, __u64 from, void *to, size_t size)
{
	const char *data = (const char *)ring->page + ring->page->data_offset;
	size_t start = from & (ring_size - 1);
	size_t first = ring_size - start;

	if (first > size)
		first = size;
	memcpy(to, data + start, first);
	memcpy((char *)to + first, data, size - first);
}

/* Account for the batch at `position` of the ring and copy what of it is new. Returns samples copied. */
static unsigned int take_batch(struct cpu_ring *ring, size_t ring_size, __u64 position, struct sample *to)
{
	__u64 end, start, from;

	copy_wrapped(ring, ring_size, position, &end, sizeof(end));
	start = end - BATCH_SIZE;
	if (end <= ring->next)
		return 0;
	if (start > ring->next)
		ring->lost += start - ring->next;
	from = start > ring->next ? start : ring->next;
	copy_wrapped(ring, ring_size, position + offsetof(struct batch, samples) + (from - start) * sizeof(*to), to,
		     (end - from) * sizeof(*to));
	ring->next = end;
	return end - from;
}

unsigned int cpu_ring_read(struct cpu_ring *ring, size_t ring_size, struct sample *to, unsigned int capacity)
{
	__u64 head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
	__u64 tail = ring->page->data_tail;
	struct perf_event_header header;
	unsigned int n = 0;
	__u32 size;

	while (tail < head && n + BATCH_SIZE <= capacity) {
		copy_wrapped(ring, ring_size, tail, &header, sizeof(header));
		if (header.type == PERF_RECORD_SAMPLE) {
			copy_wrapped(ring, ring_size, tail + sizeof(header), &size, sizeof(size));
			if (size >= sizeof(struct batch))
				n += take_batch(ring, ring_size, tail + RECORD_DATA, to + n);
		}
		/* PERF_RECORD_LOST tells of lost batches; their samples show as a gap in the sequence. */
		tail += header.size;
	}
	__atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
	ring->drained |= tail == head;
	return n;
}

/*
 * The batch is append-only until its last slot is filled, and slot 0 is written
 * again only after the sequence has passed to the next batch. So:
 * 1. read the sequence, copy the filled slots, read the sequence again;
 * 2. the copy is good if both name the same batch.
 * What had left the batch at the peek before and did not come out of the ring,
 * though that was read to its end since, found no room on it.
 */
unsigned int cpu_ring_peek(struct cpu_ring *ring, const struct batch *live, struct sample *to)
{
	__u64 sequence = __atomic_load_n(&live->sequence, __ATOMIC_ACQUIRE);
	__u64 flushed = sequence - sequence % BATCH_SIZE;
	unsigned int n;

	if (ring->page && !ring->drained)
		return 0;
	ring->drained = false;
	if (ring->flushed > ring->next) {
		ring->lost += ring->flushed - ring->next;
		ring->next = ring->flushed;
	}
	ring->flushed = flushed;
	if (flushed > ring->next || sequence == ring->next)
		return 0;
	n = sequence - ring->next;
	memcpy(to, &live->samples[ring->next % BATCH_SIZE], n * sizeof(*to));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&live->sequence, __ATOMIC_RELAXED) / BATCH_SIZE != sequence / BATCH_SIZE)
		return 0;
	ring->next = sequence;
	return n;
}
