/* Families of generic netlink. */
#ifndef XDPFIX_GENETLINK_H
#define XDPFIX_GENETLINK_H

#include <linux/types.h>

#include "genetlink.def.h"

#endif
