/* The memory of flows: chunks that never move, so that a flow keeps its address for life. Used by cache.c. */
#ifndef XDPFIX_SLAB_H
#define XDPFIX_SLAB_H

#include "flow.h"

/*
 * Flows a chunk, all with as many lines: 6, 8, 10 or 12 MiB, whole huge pages where the
 * kernel gives them, since a lookup is a random access. Memory that no flow had yet is
 * not touched, so the kernel need not give it.
 */
#define SLAB_CHUNK_BITS 15
#define SLAB_CHUNK (1u << SLAB_CHUNK_BITS)
#define SLAB_SIZES 4	/* no line more than the three, one, two, three */

/*
 * Links to other flows, by their ids: apart from the lines that each packet touches, and
 * four flows a line, for those created one after the other lie so, and have each other's.
 */
struct filing {
	__u32 wheel_prev;
	__u32 wheel_next;
	__u32 older;	/* in the order of their creation */
	__u32 newer;	/* and, among those that ended, the next one */
};

struct chunk {
	char *flows;
	__u32 stride;
	__u32 used;	/* flows that were ever allocated */
	struct filing *filings;
};

struct slab {
	struct chunk *chunks;
	__u32 chunk_count;
	__u32 growing[SLAB_SIZES];	/* the chunk with room, by lines; FLOW_NONE: none */
	__u32 free[SLAB_SIZES];	/* list through index_next */
};

/* Memory for random access: in huge pages, as far as it fills some and the kernel gives them. NULL: there is none. */
void *slab_memory(size_t size);

void slab_init(struct slab *slab);
void slab_destroy(struct slab *slab);

/* A flow with so many extra lines and only its id set, or NULL when memory is short. */
struct flow *slab_alloc(struct slab *slab, unsigned int extra_lines);
void slab_free(struct slab *slab, struct flow *flow);

static inline struct flow *slab_flow(const struct slab *slab, __u32 id)
{
	const struct chunk *chunk = &slab->chunks[id >> SLAB_CHUNK_BITS];

	return (struct flow *)(chunk->flows + (size_t)(id & (SLAB_CHUNK - 1)) * chunk->stride);
}

static inline struct filing *slab_filing(const struct slab *slab, __u32 id)
{
	return &slab->chunks[id >> SLAB_CHUNK_BITS].filings[id & (SLAB_CHUNK - 1)];
}

#endif
