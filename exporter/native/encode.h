/* The encoder. Plans are compiled from templates by exporter/plan.py; flows come from cache.c. */
#ifndef XDPFIX_ENCODE_H
#define XDPFIX_ENCODE_H

#include "flow.h"
#include "encode.def.h"

#define MESSAGE_HEADER_SIZE 16	/* RFC 7011 section 3.1 */
#define SET_HEADER_SIZE 4	/* RFC 7011 section 3.3.2 */

#endif
