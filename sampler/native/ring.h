/* The perf rings' reader: see ring.def.h. */
#ifndef XDPFIX_RING_H
#define XDPFIX_RING_H

#include "state.h"
#include "ring.def.h"

#endif
