/*
 * The numbers that a psample group gives its samples, as a witness of losses. They are drawn without a lock: several
 * CPUs may draw the same, and messages arrive a little out of order. So nothing is concluded from a single gap, but
 * from how many numbers were given and how many messages came; and only when that has not changed by the next look.
 */
#ifndef XDPFIX_SEQUENCE_H
#define XDPFIX_SEQUENCE_H

#include <stdbool.h>

#include "state.h"

/* A number this far behind the highest is of a group that was made anew, and counts from 0. */
#define SEQUENCE_WINDOW 4096
/* So is one below the window that lies this far ahead: the group before had given more than half of all numbers. */
#define SEQUENCE_LEAP (1 << 20)

struct sequence {
	bool known;
	__u32 highest;
	__u64 given;	/* numbers from the first that was seen to the highest */
	__u64 received;	/* messages with such numbers */
	__u64 excused;	/* messages whose loss is known from elsewhere */
	__u64 missing;	/* at the last look */
};

/* A message with this number came. */
void sequence_see(struct sequence *sequence, __u32 number);

/* That many messages were lost, and are counted. */
void sequence_excuse(struct sequence *sequence, __u64 lost);

/* How many messages are missing since the look before, and still; they are excused by that. */
__u64 sequence_look(struct sequence *sequence);

#endif
