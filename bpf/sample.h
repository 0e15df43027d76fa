/* The sample ABI with its guards: sizes and offsets are the same for clang, cc and cffi. */
#ifndef XDPFIX_SAMPLE_H
#define XDPFIX_SAMPLE_H

#include <linux/types.h>
#if __has_include(<stddef.h>)
#include <stddef.h>
#endif

#include "sample.def.h"

/* Bytes of struct flow_key in front of the tunnel. */
#define FLOW_KEY_PLAIN_SIZE 80

_Static_assert(sizeof(struct tunnel_key) == 48, "tunnel_key is ABI");
_Static_assert(sizeof(struct flow_key) == 128, "flow_key is ABI");
_Static_assert(sizeof(struct sample_meta) == 48, "sample_meta is ABI");
_Static_assert(sizeof(struct sample) == 176, "sample is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, src_mac) == 8, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, vlan_tci) == 22, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, src_port) == 30, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, flow_label) == 36, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, src_addr) == 48, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct flow_key, tunnel) == FLOW_KEY_PLAIN_SIZE, "flow_key is ABI");
_Static_assert(__builtin_offsetof(struct tunnel_key, key) == 32, "tunnel_key is ABI");
_Static_assert(__builtin_offsetof(struct sample_meta, verdict) == 18, "sample_meta is ABI");
_Static_assert(__builtin_offsetof(struct sample_meta, generation) == 40, "sample_meta is ABI");

#endif
