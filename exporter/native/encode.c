/* The encoder: operations to octets, records to sets, sets to messages. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"

#define IPFIX_VERSION 10
#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define US_PER_S 1000000
#define LAYER2_SEGMENT_VXLAN (1ull << 56)	/* IANA, layer2SegmentId (351): the encapsulation in the top octet */
#define VNI_MASK 0xffffff	/* RFC 7348 section 5: 24 bits */

/* What was cut from the records of one domain and waits for the next. */
struct carry {
	__u32 domain;
	__u32 packets;
	__u32 frame_octets;
	__u32 ip_octets;
	__u32 ip_octets_sumsq;
};

struct encoder {
	struct plan *plans;
	struct op *ops;	/* of all plans */
	unsigned int plan_count;
	unsigned int kinds[FLOW_KINDS];
	struct carry *carries;
	unsigned int carry_count;
	struct flow **sorted;	/* scratch of encode_flows() */
	__u16 *sorted_plans;
	unsigned int sorted_size;
};

int encoder_create(struct encoder **result, const struct plan *plans, unsigned int plan_count,
		   const unsigned int *kinds)
{
	struct encoder *encoder;
	size_t op_count = 0;

	for (unsigned int i = 0; i < FLOW_KINDS; i++)
		if (kinds[i] >= plan_count)
			return -EINVAL;
	if (plan_count > FLOW_KINDS)
		return -EINVAL;
	for (unsigned int i = 0; i < plan_count; i++) {
		for (unsigned int j = 0; j < plans[i].op_count; j++)
			if (plans[i].ops[j].code > OP_LAYER2_SEGMENT)
				return -EINVAL;
		op_count += plans[i].op_count;
	}
	encoder = calloc(1, sizeof(*encoder));
	if (!encoder)
		return -ENOMEM;
	encoder->plans = malloc(plan_count * sizeof(*plans));
	encoder->ops = malloc(op_count * sizeof(*encoder->ops) + 1);
	if (!encoder->plans || !encoder->ops) {
		encoder_destroy(encoder);
		return -ENOMEM;
	}
	op_count = 0;
	for (unsigned int i = 0; i < plan_count; i++) {
		encoder->plans[i] = plans[i];
		encoder->plans[i].ops = encoder->ops + op_count;
		memcpy(encoder->ops + op_count, plans[i].ops, plans[i].op_count * sizeof(*encoder->ops));
		op_count += plans[i].op_count;
	}
	encoder->plan_count = plan_count;
	memcpy(encoder->kinds, kinds, sizeof(encoder->kinds));
	*result = encoder;
	return 0;
}

void encoder_destroy(struct encoder *encoder)
{
	if (!encoder)
		return;
	free(encoder->plans);
	free(encoder->ops);
	free(encoder->carries);
	free(encoder->sorted);
	free(encoder->sorted_plans);
	free(encoder);
}

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

/* The low `length` octets of `value`, big-endian. */
static inline void put_uint(__u8 *to, __u64 value, unsigned int length)
{
	value = htobe64(value);
	if (length == 8)
		memcpy(to, &value, 8);
	else
		memcpy(to, (const __u8 *)&value + 8 - length, length);
}

static inline __u64 wall_time(const struct flow *flow, __u64 monotonic)
{
	__s64 wall = (__s64)monotonic + flow->wall_offset;

	return wall > 0 ? (__u64)wall : 0;
}

/* Microseconds before Export Time, kept in what 158/159 can say (RFC 7011 section 5.1) when the clock was stepped. */
static inline __u32 delta(const struct flow *flow, __u64 monotonic, __u32 export_time)
{
	__u64 end = (__u64)export_time * US_PER_S;
	__u64 time = wall_time(flow, monotonic) / NS_PER_US;

	if (time >= end)
		return 0;
	return end - time > 0xffffffffu ? 0xffffffffu : (__u32)(end - time);
}

/* Milliseconds since 1970, not after Export Time: a flow cannot end after it was exported. */
static inline __u64 milliseconds(const struct flow *flow, __u64 monotonic, __u32 export_time)
{
	__u64 end = (__u64)export_time * 1000;
	__u64 time = wall_time(flow, monotonic) / NS_PER_MS;

	return time < end ? time : end;
}

static __u8 *put_tunnel_key(__u8 *to, const struct tunnel_key *tunnel)
{
	*to++ = tunnel->key_length;
	memcpy(to, (const __u8 *)&tunnel->key + 8 - tunnel->key_length, tunnel->key_length);
	return to + tunnel->key_length;
}

static __u64 op_value(const struct op *op, const struct flow *flow, __u32 export_time)
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
	case OP_START_DELTA:
		return delta(flow, flow->first, export_time);
	case OP_END_DELTA:
		return delta(flow, flow->last, export_time);
	case OP_START_MILLISECONDS:
		return milliseconds(flow, flow->first, export_time);
	case OP_END_MILLISECONDS:
		return milliseconds(flow, flow->last, export_time);
	case OP_INGRESS_INTERFACE:
		return key->direction == DIRECTION_INGRESS ? key->ifindex : 0;
	case OP_EGRESS_INTERFACE:
		return key->direction == DIRECTION_EGRESS ? key->ifindex : 0;
	case OP_LAYER2_SEGMENT:
		return LAYER2_SEGMENT_VXLAN | (be64toh(key->tunnel.key) & VNI_MASK);
	default:
		return 0;	/* encoder_create() let no other code in */
	}
}

static __u8 *put_record(__u8 *to, const struct plan *plan, const struct flow *flow, __u32 export_time)
{
	const struct op *end = plan->ops + plan->op_count;

	for (const struct op *op = plan->ops; op < end; op++) {
		if (op->code == OP_COPY) {
			memcpy(to, (const __u8 *)flow + op->offset, op->length);
		} else if (op->code == OP_TUNNEL_KEY) {
			to = put_tunnel_key(to, &flow->key.tunnel);
			continue;
		} else {
			put_uint(to, op_value(op, flow, export_time), op->length);
		}
		to += op->length;
	}
	return to;
}

static inline unsigned int record_size(const struct plan *plan, const struct flow *flow)
{
	return plan->record_size + (plan->tunnel_key ? 1u + flow->key.tunnel.key_length : 0);
}

static struct carry *carry_of(struct encoder *encoder, __u32 domain)
{
	struct carry *carries;

	for (unsigned int i = 0; i < encoder->carry_count; i++)
		if (encoder->carries[i].domain == domain)
			return &encoder->carries[i];
	carries = realloc(encoder->carries, (encoder->carry_count + 1) * sizeof(*carries));
	if (!carries)
		return NULL;
	encoder->carries = carries;
	carries[encoder->carry_count] = (struct carry){ .domain = domain };
	return &carries[encoder->carry_count++];
}

static inline void carry_over(__u64 *value, __u32 *fraction, __u32 *carry)
{
	flow_count(value, fraction, *carry);
	*carry = *fraction;
	*fraction = 0;
}

/* Cut the fractions of the counters that the record shows; the next record gets them. */
static void cut(struct carry *carry, struct flow *flow, int ip)
{
	carry_over(&flow->packets, &flow->packets_fraction, &carry->packets);
	carry_over(&flow->frame_octets, &flow->frame_octets_fraction, &carry->frame_octets);
	if (!ip)
		return;
	carry_over(&flow->ip_octets, &flow->ip_octets_fraction, &carry->ip_octets);
	carry_over(&flow->ip_octets_sumsq, &flow->ip_octets_sumsq_fraction, &carry->ip_octets_sumsq);
}

static int reserve(struct encoder *encoder, unsigned int count)
{
	struct flow **sorted;
	__u16 *plans;

	if (count <= encoder->sorted_size)
		return 0;
	sorted = realloc(encoder->sorted, count * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	encoder->sorted = sorted;
	plans = realloc(encoder->sorted_plans, count * sizeof(*plans));
	if (!plans)
		return -ENOMEM;
	encoder->sorted_plans = plans;
	encoder->sorted_size = count;
	return 0;
}

/* Order the flows of one domain by plan, keeping their order within each; returns how many lead with that domain. */
static unsigned int group(struct encoder *encoder, struct flow **flows, unsigned int count)
{
	unsigned int starts[FLOW_KINDS + 1] = { 0 };
	unsigned int same = 0;

	for (; same < count && flows[same]->domain == flows[0]->domain; same++) {
		unsigned int plan = encoder->kinds[flow_kind(&flows[same]->key)];

		encoder->sorted_plans[same] = plan;
		starts[plan + 1]++;
	}
	for (unsigned int i = 1; i <= FLOW_KINDS; i++)
		starts[i] += starts[i - 1];
	for (unsigned int i = 0; i < same; i++)
		encoder->sorted[starts[encoder->sorted_plans[i]]++] = flows[i];
	memcpy(flows, encoder->sorted, same * sizeof(*flows));
	return same;
}

/* One message of the first flows, which are of one domain. Returns how many went in. */
static unsigned int fill(struct encoder *encoder, struct flow **flows, unsigned int count, __u32 export_time,
			 __u32 limit, __u8 *start, struct carry *carry, struct message *message)
{
	__u8 *to = start + MESSAGE_HEADER_SIZE, *set = NULL;
	const struct plan *current = NULL;
	unsigned int written = 0;

	for (; written < count; written++) {
		struct flow *flow = flows[written];
		const struct plan *plan = &encoder->plans[encoder->kinds[flow_kind(&flow->key)]];
		unsigned int needed = record_size(plan, flow) + (plan == current ? 0 : SET_HEADER_SIZE);

		if ((unsigned int)(to - start) + needed > limit)
			break;
		if (plan != current) {
			if (set)
				put16(set + 2, to - set);
			current = plan;
			set = to;
			put16(set, plan->template_id);
			to += SET_HEADER_SIZE;
		}
		cut(carry, flow, plan->ip);
		to = put_record(to, plan, flow, export_time);
	}
	if (set)
		put16(set + 2, to - set);
	message->length = to - start;
	message->records = written;
	message->domain = carry->domain;
	return written;
}

int encode_flows(struct encoder *encoder, struct flow **flows, unsigned int count, __u32 export_time,
		 __u32 message_size, __u8 *buffer, __u32 buffer_size, struct message *messages,
		 unsigned int message_limit, unsigned int *message_count)
{
	unsigned int done = 0, made = 0;
	__u32 used = 0;

	if (reserve(encoder, count))
		return -ENOMEM;
	while (done < count) {
		unsigned int end = done + group(encoder, flows + done, count - done);
		struct carry *carry = carry_of(encoder, flows[done]->domain);

		if (!carry)
			return -ENOMEM;
		while (done < end) {
			unsigned int written;

			if (made == message_limit || buffer_size - used < message_size)
				goto out;
			written = fill(encoder, flows + done, end - done, export_time, message_size, buffer + used,
				       carry, &messages[made]);
			if (!written)
				return -EMSGSIZE;
			messages[made].offset = used;
			used += messages[made++].length;
			done += written;
		}
	}
out:
	*message_count = made;
	return done;
}

__u32 encode_headers(__u8 *buffer, const struct message *messages, unsigned int count, __u32 export_time,
		     __u32 sequence)
{
	for (unsigned int i = 0; i < count; i++) {
		__u8 *header = buffer + messages[i].offset;

		put16(header, IPFIX_VERSION);
		put16(header + 2, messages[i].length);
		put32(header + 4, export_time);
		put32(header + 8, sequence);
		put32(header + 12, messages[i].domain);
		sequence += messages[i].records;
	}
	return sequence;
}
