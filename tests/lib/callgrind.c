/* Valgrind's client requests, as functions that lib/callgrind.py calls: a region's count goes into a dump of its own. */
#include <valgrind/callgrind.h>

void count_start(void)
{
	CALLGRIND_START_INSTRUMENTATION;
}

void count_begin(void)
{
	CALLGRIND_ZERO_STATS;
}

void count_end(const char *name)
{
	CALLGRIND_DUMP_STATS_AT(name);
}
