/* The rings' reader in C, for the sanitizers: records that wrap, batches that are lost or half-filled, several rings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "perfring.h"
#include "ring.h"

#define RINGS 3
#define PAGES 8	/* of 4 KiB: two batches and a piece, so that each third record wraps */

static struct perf_event_mmap_page *pages[RINGS];
static struct cpu_state *states;
static size_t data_size;
static struct sample samples[1024];

static struct ring *open_rings(unsigned int count)
{
	void *rings[RINGS];
	struct ring *ring;

	data_size = PAGES * sysconf(_SC_PAGESIZE);
	states = calloc(count, sizeof(*states));
	for (unsigned int i = 0; i < count; i++) {
		pages[i] = calloc(1, sizeof(*pages[i]) + data_size);
		pages[i]->data_offset = sizeof(*pages[i]);
		rings[i] = pages[i];
		states[i].batch.sequence = 1600;	/* the programs ran before */
	}
	CHECK(!ring_over(&ring, rings, count, PAGES, states));
	return ring;
}

static void close_rings(struct ring *ring, unsigned int count)
{
	ring_free(ring);
	for (unsigned int i = 0; i < count; i++)
		free(pages[i]);
	free(states);
}

/* As the programs append a sample; its number is its time. A full batch goes on the ring where that has room. */
static void append(unsigned int cpu)
{
	struct batch *batch = &states[cpu].batch;

	batch->samples[batch->sequence % BATCH_SIZE].meta.time = batch->sequence;
	if (++batch->sequence % BATCH_SIZE == 0)
		perf_ring_put(pages[cpu], data_size, batch);
}

static void append_many(unsigned int cpu, unsigned int count)
{
	while (count--)
		append(cpu);
}

static void expect(const struct sample *from, unsigned int count, __u64 first)
{
	for (unsigned int i = 0; i < count; i++)
		CHECK(from[i].meta.time == first + i);
}

static struct ring_stats stats_of(const struct ring *ring)
{
	struct ring_stats stats;

	ring_get_stats(ring, &stats);
	CHECK(stats.appended == stats.received + stats.lost + stats.pending);
	return stats;
}

/* Every sample once, in its order, wherever its record lies. */
static void test_wrapping(void)
{
	struct ring *ring = open_rings(1);
	__u64 next = 1600;

	for (unsigned int i = 0; i < 50; i++) {
		append_many(0, 2 * BATCH_SIZE);
		CHECK(ring_read(ring, samples, 1024) == 2 * BATCH_SIZE);
		expect(samples, 2 * BATCH_SIZE, next);
		next += 2 * BATCH_SIZE;
		CHECK(ring_read(ring, samples, 1024) == 0);
	}
	CHECK(stats_of(ring).received == 100 * BATCH_SIZE);
	CHECK(stats_of(ring).lost == 0);
	close_rings(ring, 1);
}

/* A batch for which the ring has no room is a loss, known when the next one comes. */
static void test_loss(void)
{
	struct ring *ring = open_rings(1);

	append_many(0, 5 * BATCH_SIZE);
	CHECK(ring_read(ring, samples, 1024) == 2 * BATCH_SIZE);
	CHECK(stats_of(ring).pending == 3 * BATCH_SIZE);
	append_many(0, BATCH_SIZE);
	CHECK(ring_read(ring, samples, 1024) == BATCH_SIZE);
	expect(samples, BATCH_SIZE, 1600 + 5 * BATCH_SIZE);
	CHECK(stats_of(ring).lost == 3 * BATCH_SIZE);
	CHECK(stats_of(ring).pending == 0);
	close_rings(ring, 1);
}

/* What waits in a half-filled batch comes by a peek, and not again with the batch. */
static void test_peek(void)
{
	struct ring *ring = open_rings(1);

	append_many(0, BATCH_SIZE + 5);
	CHECK(ring_peek(ring, samples, 1024) == 0);	/* the ring goes first */
	CHECK(ring_read(ring, samples, 1024) == BATCH_SIZE);
	CHECK(ring_peek(ring, samples, 1024) == 5);
	expect(samples, 5, 1600 + BATCH_SIZE);
	append_many(0, BATCH_SIZE);
	CHECK(ring_read(ring, samples, 1024) == BATCH_SIZE - 5);
	expect(samples, BATCH_SIZE - 5, 1600 + BATCH_SIZE + 5);
	CHECK(ring_peek(ring, samples, 1024) == 5);
	CHECK(stats_of(ring).received == 2 * BATCH_SIZE + 5);
	CHECK(stats_of(ring).peeked == 10);
	close_rings(ring, 1);
}

/* Rings take turns: where a call has room for one ring's batches alone, each call begins with another ring. */
static void test_turns(void)
{
	struct ring *ring = open_rings(RINGS);

	for (unsigned int cpu = 0; cpu < RINGS; cpu++)
		append_many(cpu, 2 * BATCH_SIZE);
	for (unsigned int turn = 0; turn < RINGS; turn++) {
		CHECK(ring_read(ring, samples, BATCH_SIZE) == BATCH_SIZE);
		for (unsigned int cpu = 0; cpu < RINGS; cpu++)
			CHECK(!pages[cpu]->data_tail == (cpu > turn));
	}
	CHECK(ring_read(ring, samples, 1024) == RINGS * BATCH_SIZE);
	CHECK(stats_of(ring).received == RINGS * 2 * BATCH_SIZE);
	CHECK(stats_of(ring).cpus == RINGS);
	CHECK(ring_rescan(ring) == 0);	/* the memory is somebody's: there is nothing to follow */
	close_rings(ring, RINGS);
}

static void test_refusal(void)
{
	struct ring *ring;
	struct cpu_state state = { .busy = 0 };
	void *page = NULL;

	CHECK(ring_over(&ring, &page, 1, 3, &state) == -EINVAL);
}

int main(void)
{
	test_wrapping();
	test_loss();
	test_peek();
	test_turns();
	test_refusal();
	return 0;
}
