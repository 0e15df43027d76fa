/* A capture file read ahead by a thread of its own. */
#ifndef XDPFIX_AHEAD_H
#define XDPFIX_AHEAD_H

#include "capture.h"
#include "ahead.def.h"

#endif
