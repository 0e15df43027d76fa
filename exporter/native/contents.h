/* What the flow records of a message hold: called for messages that were lost, so that no other pays for it. */
#ifndef XDPFIX_CONTENTS_H
#define XDPFIX_CONTENTS_H

#include "encode.h"
#include "contents.def.h"

#define FIELD_VARIABLE 65535	/* RFC 7011 section 7 */
#define FIELD_LONG 255	/* a length in two more octets follows */

#endif
