/* The perf ring's reader. Declarations only: read by cc and cffi. */

/* CPUs that this kernel may ever have, or -errno. */
int ring_possible_cpus(void);
