/* The memory of flows: chunks and a free list. */
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "slab.h"

/* Ids keep their top bit clear: the wheel marks its heads with it. */
#define SLAB_CHUNKS_MAX ((1u << 31) >> SLAB_CHUNK_BITS)

void slab_init(struct slab *slab)
{
	*slab = (struct slab){ .free = FLOW_NONE };
}

void slab_destroy(struct slab *slab)
{
	for (__u32 i = 0; i < slab->chunk_count; i++)
		free(slab->chunks[i]);
	free(slab->chunks);
	slab_init(slab);
}

static int slab_grow(struct slab *slab)
{
	__u32 base = slab->chunk_count << SLAB_CHUNK_BITS;
	struct flow **chunks, *chunk;

	if (slab->chunk_count >= SLAB_CHUNKS_MAX)
		return -1;
	chunks = realloc(slab->chunks, (slab->chunk_count + 1) * sizeof(*chunks));
	if (!chunks)
		return -1;
	slab->chunks = chunks;
	chunk = aligned_alloc(SLAB_CHUNK * sizeof(*chunk), SLAB_CHUNK * sizeof(*chunk));
	if (!chunk)
		return -1;
	madvise(chunk, SLAB_CHUNK * sizeof(*chunk), MADV_HUGEPAGE);	/* a wish: refused, it costs time alone */
	chunks[slab->chunk_count++] = chunk;
	for (__u32 i = SLAB_CHUNK; i-- > 0;) {
		chunk[i].id = base + i;
		chunk[i].index_next = slab->free;
		slab->free = base + i;
	}
	return 0;
}

struct flow *slab_alloc(struct slab *slab)
{
	struct flow *flow;

	if (slab->free == FLOW_NONE && slab_grow(slab))
		return NULL;
	flow = slab_flow(slab, slab->free);
	slab->free = flow->index_next;
	return flow;
}

void slab_free(struct slab *slab, struct flow *flow)
{
	flow->index_next = slab->free;
	slab->free = flow->id;
}
