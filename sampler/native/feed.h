/* Samples from the rings to their sinks: see feed.def.h. */
#ifndef XDPFIX_FEED_H
#define XDPFIX_FEED_H

#include "ring.h"
#include "feed.def.h"

#endif
