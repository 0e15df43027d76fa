/* Records: what each operation of a plan writes. */
#include "flags.h"
#include "record.h"

#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define US_PER_S 1000000
#define LAYER2_SEGMENT_VXLAN (1ull << 56)	/* IANA, layer2SegmentId (351): the encapsulation in the top octet */
#define VNI_MASK 0xffffff	/* RFC 7348 section 5: 24 bits */
#define FRAGMENT_FLAGS (FRAGMENT_MORE | FRAGMENT_DONT)

/* IANA, forwardingStatus (89), by RFC 7270 section 4.12: the status in the top two bits, the reason below. */
enum forwarding_status {
	STATUS_UNKNOWN = 0,
	STATUS_FORWARDED = 64,	/* for an unknown reason: it goes on to the network stack */
	STATUS_FORWARDED_WHOLE = 66,	/* not fragmented */
	STATUS_DROPPED = 128,	/* for an unknown reason */
};

/* The low `length` octets of `value`, big-endian. Most are of a length that is one store, and no call. */
static inline void put_uint(__u8 *to, __u64 value, unsigned int length)
{
	switch (length) {
	case 1:
		*to = (__u8)value;
		break;
	case 4:
		put32(to, (__u32)value);
		break;
	default:
		value = htobe64(value);
		if (length == 8)
			memcpy(to, &value, 8);
		else
			memcpy(to, (const __u8 *)&value + 8 - length, length);
	}
}

/* The same for octets that are in the order of the wire already. */
static inline void put_octets(__u8 *to, const __u8 *from, unsigned int length)
{
	if (length == 1)
		*to = *from;
	else if (length == 4)
		memcpy(to, from, 4);
	else
		memcpy(to, from, length);
}

/* Microseconds before Export Time, kept in what 158/159 can say (RFC 7011 section 5.1) when the clock was stepped. */
static inline __u32 delta(__u64 wall, __u32 export_time)
{
	__u64 end = (__u64)export_time * US_PER_S;
	__u64 time = wall / NS_PER_US;

	if (time >= end)
		return 0;
	return end - time > 0xffffffffu ? 0xffffffffu : (__u32)(end - time);
}

/* Milliseconds since 1970, not after Export Time: a flow cannot end after it was exported. */
static inline __u64 milliseconds(__u64 wall, __u32 export_time)
{
	__u64 end = (__u64)export_time * 1000;
	__u64 time = wall / NS_PER_MS;

	return time < end ? time : end;
}

static __u8 *put_tunnel_key(__u8 *to, const struct tunnel_key *tunnel)
{
	*to++ = tunnel->key_length;
	memcpy(to, (const __u8 *)&tunnel->key + 8 - tunnel->key_length, tunnel->key_length);
	return to + tunnel->key_length;
}

/* The interface on this side: the one that saw the packet, or the other one as far as it is known. */
static inline __u32 interface(const struct flow *flow, unsigned int direction)
{
	return flow->key.direction == direction ? flow->key.ifindex : flow->other_ifindex;
}

static __u64 forwarding_status(__u8 verdict)
{
	switch (verdict) {
	case VERDICT_ABORTED:
	case VERDICT_DROP:
		return STATUS_DROPPED;
	case VERDICT_PASS:
		return STATUS_FORWARDED;
	case VERDICT_TX:
	case VERDICT_REDIRECT:
		return STATUS_FORWARDED_WHOLE;
	default:
		return STATUS_UNKNOWN;
	}
}

/* What is in the line of the verdict; 0 where there is none. */
static __u64 verdict_value(unsigned int code, struct flow *flow)
{
	const struct flow_verdict *verdict;

	if (!(flow->hash & FLOW_VERDICT))
		return 0;
	verdict = flow_verdict(flow);
	if (code == OP_FORWARDING_STATUS)
		return forwarding_status(verdict->last);
	return code == OP_DROPPED_PACKETS ? verdict->dropped_packets : verdict->dropped_ip_octets;
}

static __u64 op_value(const struct op *op, struct flow *flow, __u32 export_time)
{
	const struct flow_key *key = &flow->key;
	const __u8 *field = (const __u8 *)flow + op->offset;

	switch (op->code) {
	case OP_UINT8:
		return *field;
	case OP_UINT16:
		return *(const __u16 *)field;
	case OP_UINT32:
		return *(const __u32 *)field;
	case OP_UINT64:
		return *(const __u64 *)field;
	case OP_DSCP:
		return key->ip_tos >> 2;
	case OP_PRECEDENCE:
		return key->ip_tos >> 5;
	case OP_VLAN_ID:
		return be16toh(key->vlan_tci[0]) & 0xfff;
	case OP_VLAN_PRIORITY:
		return be16toh(key->vlan_tci[0]) >> 13;
	case OP_CUSTOMER_VLAN_ID:
		return be16toh(key->vlan_tci[1]) & 0xfff;
	case OP_CUSTOMER_VLAN_PRIORITY:
		return be16toh(key->vlan_tci[1]) >> 13;
	case OP_START_DELTA:
		return delta(flow->first, export_time);
	case OP_END_DELTA:
		return delta(flow->last, export_time);
	case OP_START_MILLISECONDS:
		return milliseconds(flow->first, export_time);
	case OP_END_MILLISECONDS:
		return milliseconds(flow->last, export_time);
	case OP_INGRESS_INTERFACE:
		return interface(flow, DIRECTION_INGRESS);
	case OP_EGRESS_INTERFACE:
		return interface(flow, DIRECTION_EGRESS);
	case OP_FRAGMENT_FLAGS:
		return flow->fragment & FRAGMENT_FLAGS;
	case OP_ICMP_TYPE_CODE:
		return (be16toh(key->src_port) & 0xff) << 8 | (be16toh(key->dst_port) & 0xff);
	case OP_FLAG_COUNT:
		return flags_count(flow, op->offset) >> 32;
	case OP_LAYER2_SEGMENT:
		return LAYER2_SEGMENT_VXLAN | (be64toh(key->tunnel.key) & VNI_MASK);
	default:
		return 0;	/* encoder_create() lets no other code in, and put_record() none from OP_TUNNEL_KEY on */
	}
}

/* What few records have: apart, so that the others do not ask for each. Returns where it ends. */
static __attribute__((noinline)) __u8 *put_rare(__u8 *to, const struct op *op, struct flow *flow, const __u8 *constant)
{
	if (op->code == OP_TUNNEL_KEY)
		return put_tunnel_key(to, &flow->key.tunnel);
	if (op->code == OP_CONSTANT)
		memcpy(to, constant + op->offset, op->length);
	else
		put_uint(to, verdict_value(op->code, flow), op->length);
	return to + op->length;
}

__u8 *put_record(__u8 *to, const struct plan *plan, struct flow *flow, __u32 export_time, const __u8 *constant)
{
	const struct op *end = plan->ops + plan->op_count;

	for (const struct op *op = plan->ops; op < end; op++) {
		if (op->code >= OP_TUNNEL_KEY) {
			to = put_rare(to, op, flow, constant);
			continue;
		}
		if (op->code == OP_COPY)
			put_octets(to, (const __u8 *)flow + op->offset, op->length);
		else
			put_uint(to, op_value(op, flow, export_time), op->length);
		to += op->length;
	}
	return to;
}

