/* Records: a plan's operations, run over a flow. Used by encode.c. */
#ifndef XDPFIX_RECORD_H
#define XDPFIX_RECORD_H

#include <string.h>

#include "encode.h"

static inline void put16(__u8 *to, __u16 value)
{
	value = htobe16(value);
	memcpy(to, &value, sizeof(value));
}

static inline void put32(__u8 *to, __u32 value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof(value));
}

/* Octets of the flow's record. */
static inline unsigned int record_size(const struct plan *plan, const struct flow *flow)
{
	return plan->record_size + (plan->tunnel_key ? 1u + flow->key.tunnel.key_length : 0);
}

/* Write the record. Returns where it ends. */
__u8 *put_record(__u8 *to, const struct plan *plan, struct flow *flow, __u32 export_time, const __u8 *constant);

#endif
