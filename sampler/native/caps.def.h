/* The capabilities of the calling thread. Declarations only. */

/*
 * Keeps the capabilities in `keep` (bit n: capability n) and drops all others, from the effective, permitted and
 * inheritable sets, the ambient set and the bounding set; sets no_new_privs. Threads started later inherit it, threads
 * that run already do not. Returns 0 or -errno; after an error the thread may have lost some of them.
 */
int caps_keep(__u64 keep);
