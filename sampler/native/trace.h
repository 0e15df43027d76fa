/* C includes of trace.def.h. */
#ifndef XDPFIX_TRACE_H
#define XDPFIX_TRACE_H

#include <linux/types.h>

#include "state.h"
#include "trace.def.h"

#endif
