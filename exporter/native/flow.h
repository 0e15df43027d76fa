/* Flow keys and flows. */
#ifndef XDPFIX_FLOW_H
#define XDPFIX_FLOW_H

#include "sample.h"
#include "flow.def.h"

#endif
