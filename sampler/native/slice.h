/* The slice of the calling thread: see slice.def.h. */
#ifndef XDPFIX_SLICE_H
#define XDPFIX_SLICE_H

#include <linux/types.h>

#include "slice.def.h"

#endif
