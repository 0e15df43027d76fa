/* The memory of flows: chunks and free lists. */
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "slab.h"

/* Ids keep their top bit clear: the wheel marks its heads with it. */
#define SLAB_CHUNKS_MAX ((1u << 31) >> SLAB_CHUNK_BITS)

#define HUGE_PAGE (2u << 20)

_Static_assert(SLAB_CHUNK * FLOW_LINE % HUGE_PAGE == 0, "a chunk is whole huge pages");

void *slab_memory(size_t size)
{
	void *memory;

	if (size % HUGE_PAGE)
		return malloc(size);
	memory = aligned_alloc(HUGE_PAGE, size);
	if (memory)
		madvise(memory, size, MADV_HUGEPAGE);	/* a wish: refused, it costs time alone */
	return memory;
}

void slab_init(struct slab *slab)
{
	*slab = (struct slab){ 0 };
	for (unsigned int i = 0; i < SLAB_SIZES; i++)
		slab->growing[i] = slab->free[i] = FLOW_NONE;
}

void slab_destroy(struct slab *slab)
{
	for (__u32 i = 0; i < slab->chunk_count; i++) {
		free(slab->chunks[i].flows);
		free(slab->chunks[i].filings);
	}
	free(slab->chunks);
	slab_init(slab);
}

static int slab_grow(struct slab *slab, unsigned int extra_lines)
{
	__u32 stride = FLOW_PLAIN_SIZE + extra_lines * FLOW_LINE;
	size_t size = (size_t)SLAB_CHUNK * stride;
	struct chunk *chunks, chunk = { .stride = stride };

	if (slab->chunk_count >= SLAB_CHUNKS_MAX)
		return -1;
	chunks = realloc(slab->chunks, (slab->chunk_count + 1) * sizeof(*chunks));
	if (!chunks)
		return -1;
	slab->chunks = chunks;
	chunk.flows = slab_memory(size);
	chunk.filings = malloc(SLAB_CHUNK * sizeof(*chunk.filings));
	if (!chunk.flows || !chunk.filings) {
		free(chunk.flows);
		free(chunk.filings);
		return -1;
	}
	slab->growing[extra_lines] = slab->chunk_count;
	chunks[slab->chunk_count++] = chunk;
	return 0;
}

static struct flow *slab_fresh(struct slab *slab, unsigned int extra_lines)
{
	__u32 *growing = &slab->growing[extra_lines], id;
	struct flow *flow;

	if (*growing == FLOW_NONE && slab_grow(slab, extra_lines))
		return NULL;
	id = *growing << SLAB_CHUNK_BITS | slab->chunks[*growing].used;
	if (++slab->chunks[*growing].used == SLAB_CHUNK)
		*growing = FLOW_NONE;
	flow = slab_flow(slab, id);
	flow->id = id;
	return flow;
}

struct flow *slab_alloc(struct slab *slab, unsigned int extra_lines)
{
	struct flow *flow;

	if (slab->free[extra_lines] == FLOW_NONE)
		return slab_fresh(slab, extra_lines);
	flow = slab_flow(slab, slab->free[extra_lines]);
	slab->free[extra_lines] = flow->index_next;
	return flow;
}

void slab_free(struct slab *slab, struct flow *flow)
{
	__u32 stride = slab->chunks[flow->id >> SLAB_CHUNK_BITS].stride;
	__u32 *free = &slab->free[(stride - FLOW_PLAIN_SIZE) / FLOW_LINE];

	flow->index_next = *free;
	*free = flow->id;
}
