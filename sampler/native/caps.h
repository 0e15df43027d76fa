/* The capabilities of the calling thread. */
#ifndef XDPFIX_CAPS_H
#define XDPFIX_CAPS_H

#include <linux/types.h>

#include "caps.def.h"

#endif
