/* BPF links to network interfaces. */
#ifndef XDPFIX_LINK_H
#define XDPFIX_LINK_H

#include <linux/types.h>

#include "link.def.h"

#endif
