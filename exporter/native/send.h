/* Messages to a connected UDP socket: what exporter/outbox.py calls for data. */
#ifndef XDPFIX_SEND_H
#define XDPFIX_SEND_H

#include "encode.h"
#include "send.def.h"

#endif
