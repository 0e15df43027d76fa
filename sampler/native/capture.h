/* Captures read into samples. */
#ifndef XDPFIX_CAPTURE_H
#define XDPFIX_CAPTURE_H

#include "state.h"
#include "capture.def.h"

#endif
