/* BPF maps and programs behind a few functions. */
#ifndef XDPFIX_BPF_H
#define XDPFIX_BPF_H

#include "state.h"
#include "bpf.def.h"

#endif
