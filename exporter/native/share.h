/* Flows shared out among collectors: what exporter/distribution.py calls for balancing. */
#ifndef XDPFIX_SHARE_H
#define XDPFIX_SHARE_H

#include "flow.h"
#include "share.def.h"

#endif
