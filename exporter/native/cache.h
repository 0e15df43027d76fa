/* The flow cache. */
#ifndef XDPFIX_CACHE_H
#define XDPFIX_CACHE_H

#include "flow.h"
#include "cache.def.h"

#endif
