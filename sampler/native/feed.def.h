/* From the rings straight to who counts the samples. Declarations only: read by cc and cffi. */

/* Who counts samples: functions of a module that knows nothing of rings, and what they are called with. */
struct sample_sink {
	void *handle;
	void (*ingest)(void *handle, const struct sample *samples, unsigned int count);
	__u64 (*pending)(const void *handle);	/* not 0: the caller of ring_feed has something to do for it */
};

/*
 * Give the samples of full batches to all `sinks`, by way of `batch`, whose `capacity` is at least BATCH_SIZE. Where
 * `wait`, also those that come, until the monotonic clock reads `until` (ns). It ends before, with empty rings, where
 * ring_wake is called or a watched descriptor can be read; and where a sink has something pending. Where samples keep
 * coming it ends with a batch.
 * Returns 1 where there may be more to read now, 0 where not, or -errno.
 */
int ring_feed(struct ring *ring, struct sample *batch, unsigned int capacity, const struct sample_sink *sinks,
	      unsigned int count, __u64 until, int wait);
