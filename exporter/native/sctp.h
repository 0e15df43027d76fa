/* What Python's socket module cannot ask of an SCTP socket: used by exporter/transports/sctp.py. */
#ifndef XDPFIX_SCTP_H
#define XDPFIX_SCTP_H

#include "sctp.def.h"

#endif
