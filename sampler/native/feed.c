/* The data thread's work between two ticks: wait, read, hand to the sinks. Without Python, whose lock another may have. */
#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include "feed.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

static __u64 monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static bool any_pending(const struct sample_sink *sinks, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (sinks[i].pending(sinks[i].handle))
			return true;
	return false;
}

/* Rounded up: rounded down, the last millisecond would be spent polling without waiting. */
static int milliseconds(__u64 ns)
{
	__u64 ms = ns / NS_PER_MS + (ns % NS_PER_MS > 0);

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

int ring_feed(struct ring *ring, struct sample *batch, unsigned int capacity, const struct sample_sink *sinks,
	      unsigned int count, __u64 until, int wait)
{
	for (;;) {
		unsigned int n = ring_read(ring, batch, capacity);
		__u64 now;
		int ended;

		for (unsigned int i = 0; n && i < count; i++)
			sinks[i].ingest(sinks[i].handle, batch, n);
		if (n && any_pending(sinks, count))
			return 1;
		now = monotonic();
		if (now >= until)
			return n > 0;
		if (n)
			continue;
		if (!wait)
			return 0;
		ended = ring_poll(ring, milliseconds(until - now));
		if (ended < 0)
			return ended;
		/* Rings may be an eighth full, too, which they tell once: what they have is read before it ends. */
		if (ended == RING_CALLED)
			wait = 0;
	}
}
