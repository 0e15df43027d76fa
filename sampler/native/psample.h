/* The kernel's psample groups as a source of samples. */
#ifndef XDPFIX_PSAMPLE_H
#define XDPFIX_PSAMPLE_H

#include <stdbool.h>

#include "state.h"
#include "psample.def.h"
#include "psample_message.h"
#include "sequence.h"

/* What is known of a source's packets: how a message becomes a sample (psample_sample.c). */
struct psample_view {
	enum psample_direction direction;
	const struct psample_link *links;	/* ascending */
	unsigned int link_count;
	const struct port_tunnels *ports;	/* NULL: no tunnel is looked into */
};

/*
 * Describes the packet of a message. Time, generation and selectors are the caller's. Counts in `stats` what could not
 * be told.
 */
void psample_describe(const struct psample_view *view, const struct psample_message *message, struct sample *out,
		      struct psample_stats *stats);

#endif
