/* The perf rings, one a CPU, and the half-filled batches behind them. Declarations only: read by cc and cffi. */

struct ring;

/* Samples since the ring was opened. appended = received + lost + pending, to the sample. */
struct ring_stats {
	__u64 appended;	/* written to batches by the programs */
	__u64 received;	/* handed out by ring_read and ring_peek */
	__u64 peeked;	/* of these, taken from a half-filled batch */
	__u64 lost;	/* their batch found no room on the ring */
	__u64 pending;	/* on the ring, or in a batch that is not full */
	__u64 cpus;	/* rings open now */
};

/*
 * Open a ring of `pages` pages (a power of two) on every online CPU and enter it in
 * the perf event array `ring_fd`; `cpus_fd` is the mmapable array of struct cpu_state.
 * Returns 0 or -errno: EPERM without CAP_PERFMON, ENOMEM past the mlock limit.
 */
int ring_new(struct ring **out, int ring_fd, int cpus_fd, unsigned int pages);

/*
 * The same over memory that somebody else fills as the kernel does: `count` rings, each a struct
 * perf_event_mmap_page with its data of `pages` pages at data_offset, and as many `states`. All of it stays
 * the caller's. For tests and measurements. Returns 0 or -errno.
 */
int ring_over(struct ring **out, void *const *rings, unsigned int count, unsigned int pages,
	      const struct cpu_state *states);
void ring_free(struct ring *ring);

/* Open rings on CPUs that came online, close those of CPUs that went. Returns rings opened, or -errno. */
int ring_rescan(struct ring *ring);

/* What ended a wait. */
enum ring_end {
	RING_TIME,	/* the time; a signal, too */
	RING_READY,	/* a ring is an eighth full */
	RING_SAMPLES,	/* samples wait in a half-filled batch */
	RING_CALLED,	/* ring_wake, or a watched descriptor */
};

/*
 * Wait until a ring is an eighth full, ring_wake is called, a watched descriptor can be read or `timeout` ms are over.
 * Returns an enum ring_end, or -errno.
 */
int ring_poll(struct ring *ring, int timeout);

/*
 * The same where nothing is under way, in steps of `step` ms: at the end of a step before the last one samples that wait
 * in half-filled batches end it, too. So a long sleep lets no sample wait longer than a step.
 */
int ring_rest(struct ring *ring, int timeout, int step);

/*
 * Let ring_poll end when there is something to read at this descriptor, too: once, and again after each ring_rearm.
 * So what comes one by one wakes its reader at a pace that the reader chooses. Returns 0 or -errno.
 */
int ring_watch(struct ring *ring, int fd);
int ring_rearm(struct ring *ring, int fd);
int ring_unwatch(struct ring *ring, int fd);

/* End a ring_poll from another thread. Async-signal-safe. */
void ring_wake(struct ring *ring);

/*
 * Copy samples of full batches to `batch`, whose `capacity` is at least BATCH_SIZE.
 * Returns how many; 0 means that the rings are empty.
 */
unsigned int ring_read(struct ring *ring, struct sample *batch, unsigned int capacity);

/*
 * Copy samples that wait in half-filled batches of CPUs whose ring was read to its end
 * since the last call. `capacity` must allow BATCH_SIZE samples a possible CPU. Returns how many.
 */
unsigned int ring_peek(struct ring *ring, struct sample *batch, unsigned int capacity);

void ring_get_stats(const struct ring *ring, struct ring_stats *stats);
