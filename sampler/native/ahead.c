/* A capture file read ahead by a thread of its own: see ahead.def.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "ahead.h"

/* Batches between the two threads. The reading one, once it waits, finds half of them free, so that it waits seldom. */
#define SLOTS 8
/* Longest wait for a batch, so that a signal is noticed while a disk is slow. */
#define WAIT_NS 100000000L
#define NS_PER_S 1000000000L

/* A batch, what capture_read() returned for it, and what had been read up to its end. */
struct slot {
	int code;
	struct capture_stats stats;
	struct sample *samples;
};

/* Under the mutex: `stopped`, `filled`, `taken`. Slots from `taken` up to `filled` are the taker's, the others the thread's. */
struct ahead {
	struct capture *capture;
	unsigned int capacity;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t has_filled;
	pthread_cond_t has_taken;
	bool stopped;
	bool given;	/* the taker's: the slot `taken` was given out, and is still looked at */
	unsigned long filled;	/* slots, since the start */
	unsigned long taken;
	struct capture_stats stats;	/* the taker's */
	struct slot slots[SLOTS];
	struct sample samples[];
};

static bool is_last(int code)
{
	return code <= 0 && code != -EINTR;
}

/* The thread's next slot, NULL where it has to end. */
static struct slot *free_slot(struct ahead *ahead)
{
	struct slot *slot;

	pthread_mutex_lock(&ahead->mutex);
	while (!ahead->stopped && ahead->filled - ahead->taken == SLOTS)
		pthread_cond_wait(&ahead->has_taken, &ahead->mutex);
	slot = ahead->stopped ? NULL : &ahead->slots[ahead->filled % SLOTS];
	pthread_mutex_unlock(&ahead->mutex);
	return slot;
}

static void *read_ahead(void *argument)
{
	struct ahead *ahead = argument;
	struct slot *slot;
	bool last = false;

	while (!last && (slot = free_slot(ahead))) {
		slot->code = capture_read(ahead->capture, slot->samples, ahead->capacity);
		capture_get_stats(ahead->capture, &slot->stats);
		last = is_last(slot->code);
		pthread_mutex_lock(&ahead->mutex);
		ahead->filled++;
		pthread_cond_signal(&ahead->has_filled);
		pthread_mutex_unlock(&ahead->mutex);
	}
	return NULL;
}

/* Signals are for the threads that know what to do then. */
static int start_thread(struct ahead *ahead)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&ahead->thread, NULL, read_ahead, ahead);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!code)
		pthread_setname_np(ahead->thread, "read ahead");
	return -code;
}

static void ahead_free(struct ahead *ahead)
{
	pthread_cond_destroy(&ahead->has_filled);
	pthread_cond_destroy(&ahead->has_taken);
	pthread_mutex_destroy(&ahead->mutex);
	free(ahead);
}

int ahead_start(struct ahead **out, struct capture *capture, unsigned int capacity)
{
	size_t samples = (size_t)SLOTS * capacity;
	struct ahead *ahead = calloc(1, sizeof(*ahead) + samples * sizeof(struct sample));
	pthread_condattr_t clock;
	int code;

	if (!ahead)
		return -ENOMEM;
	ahead->capture = capture;
	ahead->capacity = capacity;
	for (unsigned int i = 0; i < SLOTS; i++)
		ahead->slots[i].samples = ahead->samples + (size_t)i * capacity;
	capture_get_stats(capture, &ahead->stats);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_mutex_init(&ahead->mutex, NULL);
	pthread_cond_init(&ahead->has_filled, &clock);
	pthread_cond_init(&ahead->has_taken, NULL);
	pthread_condattr_destroy(&clock);
	code = start_thread(ahead);
	if (code) {
		ahead_free(ahead);
		return code;
	}
	*out = ahead;
	return 0;
}

void ahead_stop(struct ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->mutex);
	ahead->stopped = true;
	pthread_cond_signal(&ahead->has_taken);
	pthread_mutex_unlock(&ahead->mutex);
	pthread_join(ahead->thread, NULL);
	ahead_free(ahead);
}

/* Waits for a filled slot. Whether there is one. */
static bool wait_for_slot(struct ahead *ahead)
{
	struct timespec end;

	if (ahead->filled != ahead->taken)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += WAIT_NS;
	end.tv_sec += end.tv_nsec / NS_PER_S;
	end.tv_nsec %= NS_PER_S;
	while (ahead->filled == ahead->taken)
		if (pthread_cond_timedwait(&ahead->has_filled, &ahead->mutex, &end))
			return ahead->filled != ahead->taken;
	return true;
}

int ahead_next(struct ahead *ahead, struct sample **batch)
{
	const struct slot *slot = NULL;

	pthread_mutex_lock(&ahead->mutex);
	if (ahead->given) {
		ahead->given = false;
		ahead->taken++;
		if (ahead->filled - ahead->taken <= SLOTS / 2)
			pthread_cond_signal(&ahead->has_taken);
	}
	if (wait_for_slot(ahead)) {
		slot = &ahead->slots[ahead->taken % SLOTS];
		/* The last one stays: nothing comes behind it. */
		ahead->given = !is_last(slot->code);
	}
	pthread_mutex_unlock(&ahead->mutex);
	if (!slot)
		return -EINTR;
	ahead->stats = slot->stats;
	*batch = slot->samples;
	return slot->code;
}

void ahead_get_stats(const struct ahead *ahead, struct capture_stats *out)
{
	*out = ahead->stats;
}
