/* The BPF parser and gate, compiled for user space. */
#ifndef XDPFIX_PARSER_H
#define XDPFIX_PARSER_H

#include "state.h"
#include "parser.def.h"

#endif
