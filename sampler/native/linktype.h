/* Link types of captures: which part of a record is the frame that was on the wire. */
#ifndef XDPFIX_LINKTYPE_H
#define XDPFIX_LINKTYPE_H

#include <stdbool.h>

#include "state.h"

/* Octets of a cooked record that are copied behind an Ethernet header: more than the parser looks at. */
#define COOKED_OCTETS 512
#define COOKED_ETHERNET 14

/* A frame as the parser takes it. */
struct link_frame {
	const __u8 *bytes;
	__u32 captured;
	__u32 length;	/* on the wire */
	__u32 ifindex;	/* 0: not known */
	bool l3;
	__u8 direction;	/* enum direction */
	__u8 cooked[COOKED_ETHERNET + COOKED_OCTETS];
};

bool link_type_known(int link_type);

/*
 * Finds the frame in a record of `length` octets, `captured` of them at `record`.
 * A record too short for its link header is a frame of no octets.
 */
void link_frame(int link_type, const __u8 *record, __u32 captured, __u32 length, struct link_frame *out);

#endif
