/* The share of a processor that the calling thread takes at once. Declarations only. */

/*
 * Lets the calling thread run for `ns` (0.1 to 100 ms) at a time. It gets no more of the processor by that, nor less, but
 * it gets it sooner: of two that want it at the same time, the scheduler runs the one with the shorter slice first. Linux
 * 6.12; kernels before know it for real time only and leave things as they are. Returns 0 or -errno.
 */
int slice_set(__u64 ns);

/* That of the calling thread in ns, 0 where the kernel does not tell, or -errno. */
__s64 slice_get(void);
