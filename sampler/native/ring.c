/* The perf ring's reader. */
#include <bpf/libbpf.h>

#include "ring.h"

int ring_possible_cpus(void)
{
	return libbpf_num_possible_cpus();
}
