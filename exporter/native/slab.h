/* The memory of flows: chunks that never move, so that a flow keeps its address for life. Used by cache.c. */
#ifndef XDPFIX_SLAB_H
#define XDPFIX_SLAB_H

#include "flow.h"

/* Flows a chunk: 2 MiB, one huge page where the kernel gives it, since a lookup is a random access. */
#define SLAB_CHUNK_BITS 13
#define SLAB_CHUNK (1u << SLAB_CHUNK_BITS)

struct slab {
	struct flow **chunks;
	__u32 chunk_count;
	__u32 free;	/* list through index_next */
};

void slab_init(struct slab *slab);
void slab_destroy(struct slab *slab);

/* A flow with only its id set, or NULL when memory is short. */
struct flow *slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, struct flow *flow);

static inline struct flow *slab_flow(const struct slab *slab, __u32 id)
{
	return &slab->chunks[id >> SLAB_CHUNK_BITS][id & (SLAB_CHUNK - 1)];
}

#endif
