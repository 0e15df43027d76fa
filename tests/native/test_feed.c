/* The data thread's loop in C, for the sanitizers: who gets samples, and what ends it. The ring is over memory. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "feed.h"
#include "perfring.h"

#define PAGES 32	/* of 4 KiB: eight batches and more */
#define BATCHES 8
#define NS_PER_S 1000000000ull
#define LONG (60 * NS_PER_S)

/* Counts samples in the order of their numbers, which are their times. */
struct counter {
	__u64 samples;
	__u64 limit;	/* has something pending from so many on */
	unsigned int calls;
};

static struct perf_event_mmap_page *page;
static struct cpu_state state;
static struct sample samples[2 * BATCH_SIZE];
static struct counter counters[2];

static void ingest(void *handle, const struct sample *from, unsigned int count)
{
	struct counter *counter = handle;

	for (unsigned int i = 0; i < count; i++)
		CHECK(from[i].meta.time == counter->samples + i);
	counter->samples += count;
	counter->calls++;
}

static __u64 pending(const void *handle)
{
	const struct counter *counter = handle;

	return counter->samples >= counter->limit;
}

static const struct sample_sink sinks[] = {
	{ &counters[0], ingest, pending },
	{ &counters[1], ingest, pending },
};

static __u64 now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static struct ring *open_ring(void)
{
	struct ring *ring;
	void *memory;

	memset(&state, 0, sizeof(state));
	page = calloc(1, sizeof(*page) + PAGES * sysconf(_SC_PAGESIZE));
	page->data_offset = sizeof(*page);
	memory = page;
	CHECK(!ring_over(&ring, &memory, 1, PAGES, &state));
	for (unsigned int i = 0; i < 2; i++)
		counters[i] = (struct counter){ .limit = ~0ull };
	return ring;
}

static void close_ring(struct ring *ring)
{
	ring_free(ring);
	free(page);
}

/* Full batches, as the programs put them on the ring. */
static void append(unsigned int batches)
{
	while (batches--) {
		for (unsigned int i = 0; i < BATCH_SIZE; i++)
			state.batch.samples[i].meta.time = state.batch.sequence++;
		perf_ring_put(page, PAGES * sysconf(_SC_PAGESIZE), &state.batch);
	}
}

static int feed(struct ring *ring, __u64 until, int wait)
{
	return ring_feed(ring, samples, 2 * BATCH_SIZE, sinks, 2, until, wait);
}

/* Both sinks get all, in as many calls as `batch` has room for. */
static void test_all(void)
{
	struct ring *ring = open_ring();

	CHECK(feed(ring, now() + LONG, 0) == 0);
	append(BATCHES);
	CHECK(feed(ring, now() + LONG, 0) == 0);
	for (unsigned int i = 0; i < 2; i++) {
		CHECK(counters[i].samples == BATCHES * BATCH_SIZE);
		CHECK(counters[i].calls == BATCHES / 2);
	}
	close_ring(ring);
}

/* It ends behind the call after which one of them has something pending, and goes on from there. */
static void test_pending(void)
{
	struct ring *ring = open_ring();

	append(BATCHES);
	counters[1].limit = 2 * BATCH_SIZE + 1;
	CHECK(feed(ring, now() + LONG, 1) == 1);
	CHECK(counters[0].samples == 4 * BATCH_SIZE && counters[1].samples == 4 * BATCH_SIZE);
	counters[1].limit = ~0ull;
	CHECK(feed(ring, now() + LONG, 0) == 0);
	CHECK(counters[0].samples == BATCHES * BATCH_SIZE);
	close_ring(ring);
}

/* Where time is up a batch is read all the same, and more may be there. */
static void test_until(void)
{
	struct ring *ring = open_ring();
	__u64 begin = now();

	append(BATCHES);
	CHECK(feed(ring, 0, 1) == 1);
	CHECK(counters[0].calls == 1);
	CHECK(feed(ring, now() + NS_PER_S / 100, 1) == 0);
	CHECK(counters[0].samples == BATCHES * BATCH_SIZE);
	CHECK(now() >= begin + NS_PER_S / 100);
	close_ring(ring);
}

/* What is called before or in a wait ends it: else this test took a minute. */
static void test_wake(void)
{
	struct ring *ring = open_ring();
	__u64 begin = now();
	char octet = 0;
	int ends[2];

	append(1);
	ring_wake(ring);
	CHECK(feed(ring, begin + LONG, 1) == 0);
	CHECK(counters[0].samples == BATCH_SIZE);
	CHECK(!pipe(ends));
	CHECK(!ring_watch(ring, ends[0]));
	CHECK(write(ends[1], &octet, 1) == 1);
	CHECK(feed(ring, begin + LONG, 1) == 0);
	CHECK(now() < begin + LONG);
	CHECK(!ring_unwatch(ring, ends[0]));
	/* Neither of them goes on waking. */
	CHECK(feed(ring, now() + NS_PER_S / 100, 1) == 0);
	close(ends[0]);
	close(ends[1]);
	close_ring(ring);
}

static void *append_and_wake(void *ring)
{
	usleep(50000);
	append(BATCHES);
	ring_wake(ring);
	return NULL;
}

/* What a ring has by then is read: a ring that is an eighth full tells so once. */
static void test_wake_with_samples(void)
{
	struct ring *ring = open_ring();
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, append_and_wake, ring));
	CHECK(feed(ring, now() + LONG, 1) == 0);
	CHECK(counters[0].samples == BATCHES * BATCH_SIZE);
	CHECK(!pthread_join(thread, NULL));
	close_ring(ring);
}

int main(void)
{
	test_all();
	test_pending();
	test_until();
	test_wake();
	test_wake_with_samples();
	return 0;
}
