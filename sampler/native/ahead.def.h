/* A capture file read ahead by a thread of its own. Declarations only: read by cc and cffi. */

struct ahead;

/*
 * Starts a thread that reads the capture, of which capture_is_file() is true, in batches of up to `capacity` samples.
 * Until ahead_stop() nothing else may be asked of it, but for capture_error() after an error. 0 or -errno: -EAGAIN where
 * there are too many threads.
 */
int ahead_start(struct ahead **out, struct capture *capture, unsigned int capacity);

/* Ends the thread, wherever it is. */
void ahead_stop(struct ahead *ahead);

/*
 * The next batch, which stays as it is until the next call. Returns what capture_read() returned for it, at the end or
 * after an error again and again; -EINTR, too, when there was none for a while: call again.
 */
int ahead_next(struct ahead *ahead, struct sample **batch);

/* What was read up to the end of the last batch that was given out. */
void ahead_get_stats(const struct ahead *ahead, struct capture_stats *out);
