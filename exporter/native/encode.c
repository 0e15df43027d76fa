/* The encoder: records to sets, sets to messages. What a record holds is record.c's. */
#include <errno.h>
#include <stdlib.h>

#include "record.h"

#define IPFIX_VERSION 10

/* What was cut from the records of one domain and waits for the next. */
struct carry {
	__u32 domain;
	__u32 packets;
	__u32 frame_octets;
	__u32 ip_octets;
	__u32 ip_octets_sumsq;
	__u32 flag_counts[FLOW_TCP_COUNTS];
	__u32 dropped_packets;
	__u32 dropped_ip_octets;
};

struct encoder {
	struct plan *plans;
	struct op *ops;	/* of all plans */
	__u8 *constant;
	unsigned int plan_count;
	unsigned int kinds[FLOW_KINDS];
	struct carry *carries;
	unsigned int carry_count;
	struct template_use *uses;	/* of the last encode_flows() */
	unsigned int use_count;
	struct flow **sorted;	/* scratch of encode_flows() */
	__u16 *sorted_plans;
	unsigned int sorted_size;
};

static int is_op(const struct op *op, unsigned int constant_size)
{
	switch (op->code) {
	case OP_CONSTANT:
		return op->offset + op->length <= constant_size;
	case OP_FLAG_COUNT:
		return op->offset < FLOW_TCP_COUNTS;
	default:
		return op->code < OP_CONSTANT;
	}
}

int encoder_create(struct encoder **result, const struct plan *plans, unsigned int plan_count,
		   const unsigned int *kinds, const __u8 *constant, unsigned int constant_size)
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
			if (!is_op(&plans[i].ops[j], constant_size))
				return -EINVAL;
		op_count += plans[i].op_count;
	}
	encoder = calloc(1, sizeof(*encoder));
	if (!encoder)
		return -ENOMEM;
	encoder->plans = malloc(plan_count * sizeof(*plans));
	encoder->ops = malloc(op_count * sizeof(*encoder->ops) + 1);
	encoder->constant = malloc(constant_size + 1);
	if (!encoder->plans || !encoder->ops || !encoder->constant) {
		encoder_destroy(encoder);
		return -ENOMEM;
	}
	if (constant_size)
		memcpy(encoder->constant, constant, constant_size);
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
	free(encoder->constant);
	free(encoder->carries);
	free(encoder->uses);
	free(encoder->sorted);
	free(encoder->sorted_plans);
	free(encoder);
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
	if (!*fraction)	/* as most counters: nothing is cut, and what waits is less than one */
		return;
	flow_count(value, fraction, *carry);
	*carry = *fraction;
	*fraction = 0;
}

static void cut_flags(struct carry *carry, struct flow *flow)
{
	__u64 *counts = flow_flag_counts(flow);

	for (unsigned int i = 0; i < FLOW_TCP_COUNTS; i++) {
		flow_count_flag(&counts[i], carry->flag_counts[i]);
		carry->flag_counts[i] = (__u32)counts[i];
		counts[i] &= ~(__u64)0xffffffff;
	}
}

/* Cut a counter whose `dropped` part is shown, too: that part, and the rest. */
static void cut_apart(__u64 *value, __u32 *fraction, __u32 *carry, __u64 *dropped, __u32 *dropped_fraction,
		      __u32 *dropped_carry)
{
	u128 all = (u128)*value << 32 | *fraction, part = (u128)*dropped << 32 | *dropped_fraction;
	u128 rest = all > part ? all - part : 0;

	*value = (__u64)(rest >> 32);
	*fraction = (__u32)rest;
	carry_over(value, fraction, carry);
	carry_over(dropped, dropped_fraction, dropped_carry);
	flow_count(value, fraction, (u128)*dropped << 32);
}

/* Not inlined: flows without a verdict are many. */
static void cut_verdict(struct carry *carry, struct flow *flow, const struct plan *plan)
{
	struct flow_verdict *verdict = flow_verdict(flow);

	cut_apart(&flow->packets, &flow->packets_fraction, &carry->packets, &verdict->dropped_packets,
		  &verdict->dropped_packets_fraction, &carry->dropped_packets);
	if (plan->ip)
		cut_apart(&flow->ip_octets, &flow->ip_octets_fraction, &carry->ip_octets, &verdict->dropped_ip_octets,
			  &verdict->dropped_ip_octets_fraction, &carry->dropped_ip_octets);
}

/* Cut the fractions of the counters that the record shows; the next record gets them. */
static void cut(struct carry *carry, struct flow *flow, const struct plan *plan)
{
	int decided = plan->verdict && flow->hash & FLOW_VERDICT;

	if (decided)
		cut_verdict(carry, flow, plan);
	else
		carry_over(&flow->packets, &flow->packets_fraction, &carry->packets);
	carry_over(&flow->frame_octets, &flow->frame_octets_fraction, &carry->frame_octets);
	if (plan->flags && flow->hash & FLOW_FLAG_COUNTS)
		cut_flags(carry, flow);
	if (!plan->ip)
		return;
	if (!decided)
		carry_over(&flow->ip_octets, &flow->ip_octets_fraction, &carry->ip_octets);
	carry_over(&flow->ip_octets_sumsq, &flow->ip_octets_sumsq_fraction, &carry->ip_octets_sumsq);
}

static int reserve(struct encoder *encoder, unsigned int count)
{
	struct template_use *uses;
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
	uses = realloc(encoder->uses, count * sizeof(*uses));
	if (!uses)
		return -ENOMEM;
	encoder->uses = uses;
	encoder->sorted_size = count;
	return 0;
}

static const struct plan *plan_of(const struct encoder *encoder, const struct flow *flow)
{
	return &encoder->plans[encoder->kinds[flow_kind(flow)]];
}

/*
 * Bring the flows of the first one's domain to the front, ordered by plan, and keep the
 * order within each plan and among the others. Returns how many they are.
 */
static unsigned int group(struct encoder *encoder, struct flow **flows, unsigned int count)
{
	unsigned int starts[FLOW_KINDS + 1] = { 0 };
	unsigned int same = 0, other;

	for (unsigned int i = 0; i < count; i++) {
		if (flows[i]->domain != flows[0]->domain)
			continue;
		encoder->sorted_plans[same] = plan_of(encoder, flows[i]) - encoder->plans;
		starts[encoder->sorted_plans[same++] + 1]++;
	}
	for (unsigned int i = 1; i <= encoder->plan_count; i++)
		starts[i] += starts[i - 1];
	other = same;
	for (unsigned int i = 0, j = 0; i < count; i++) {
		if (flows[i]->domain == flows[0]->domain)
			encoder->sorted[starts[encoder->sorted_plans[j++]]++] = flows[i];
		else
			encoder->sorted[other++] = flows[i];
	}
	memcpy(flows, encoder->sorted, count * sizeof(*flows));
	return same;
}

/* A use is noted once: those of a domain follow one another, and its flows are ordered by plan. */
static void note_use(struct encoder *encoder, __u32 domain, __u16 template_id)
{
	if (encoder->use_count) {
		const struct template_use *last = &encoder->uses[encoder->use_count - 1];

		if (last->domain == domain && last->template_id == template_id)
			return;
	}
	encoder->uses[encoder->use_count++] = (struct template_use){ .domain = domain, .template_id = template_id };
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
		const struct plan *plan = plan_of(encoder, flow);
		unsigned int needed = record_size(plan, flow) + (plan == current ? 0 : SET_HEADER_SIZE);

		if ((unsigned int)(to - start) + needed > limit)
			break;
		if (plan != current) {
			if (set)
				put16(set + 2, to - set);
			current = plan;
			set = to;
			put16(set, plan->template_id);
			note_use(encoder, flow->domain, plan->template_id);
			to += SET_HEADER_SIZE;
		}
		cut(carry, flow, plan);
		to = put_record(to, plan, flow, export_time, encoder->constant);
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

	encoder->use_count = 0;
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

unsigned int encoder_used(const struct encoder *encoder, const struct template_use **uses)
{
	*uses = encoder->uses;
	return encoder->use_count;
}

struct message_run encoder_run(const struct message *messages, unsigned int count)
{
	struct message_run run = { .domain = messages[0].domain };

	for (; run.messages < count && messages[run.messages].domain == run.domain; run.messages++) {
		run.records += messages[run.messages].records;
		run.octets += messages[run.messages].length;
	}
	return run;
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
