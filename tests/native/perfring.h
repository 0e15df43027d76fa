/* A perf ring in memory, written as the kernel writes one: for the tests of those who read it. */
#ifndef XDPFIX_PERFRING_H
#define XDPFIX_PERFRING_H

#include <linux/perf_event.h>
#include <stddef.h>

#include "state.h"

/* A record as the kernel makes it: its size is a multiple of 8. */
struct record {
	struct perf_event_header header;
	__u32 size;
	struct batch batch;
	__u32 padding;
} __attribute__((packed));

_Static_assert(sizeof(struct record) % 8 == 0, "perf's records are");

/* A full batch on the ring, where that has room. */
static inline void perf_ring_put(struct perf_event_mmap_page *page, size_t data_size, const struct batch *batch)
{
	struct record record = { .header = { PERF_RECORD_SAMPLE, 0, sizeof(record) }, .size = sizeof(*batch) + 4 };
	char *data = (char *)page + page->data_offset;

	if (page->data_head - page->data_tail + sizeof(record) > data_size)
		return;
	record.batch = *batch;
	for (size_t i = 0; i < sizeof(record); i++)
		data[(page->data_head + i) % data_size] = ((char *)&record)[i];
	page->data_head += sizeof(record);
}

#endif
