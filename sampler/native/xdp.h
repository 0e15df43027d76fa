/* The XDP programs on network interfaces. */
#ifndef XDPFIX_XDP_H
#define XDPFIX_XDP_H

#include <linux/types.h>

#include "xdp.def.h"

#endif
