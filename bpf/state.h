/* The shared maps' types with their guards. */
#ifndef XDPFIX_STATE_H
#define XDPFIX_STATE_H

#include "sample.h"
#include "state.def.h"

_Static_assert(sizeof(struct batch) == 8 + BATCH_SIZE * 160, "batch is ABI");
_Static_assert(sizeof(struct batch) < 60 * 1024, "a perf record's length is 16 bits");
_Static_assert(sizeof(struct cpu_state) % 8 == 0, "mmapable values are rounded to 8");
_Static_assert(sizeof(struct gate) == 32, "gate is ABI");
_Static_assert(sizeof(struct log2_table) == 8 * (LOG2_STEPS + 1), "log2_table is ABI");

#endif
