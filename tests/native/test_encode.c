/* The encoder in C, for the sanitizers: buffers to the last octet, messages too small, carries, kinds of flows. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "check.h"
#include "encode.h"

static const struct op plain_ops[] = {
	{ OP_UINT32, offsetof(struct flow, point), 4 },
	{ OP_UINT64, offsetof(struct flow, packets), 8 },
};

static const struct op tunnel_ops[] = {
	{ OP_UINT64, offsetof(struct flow, packets), 8 },
	{ OP_TUNNEL_KEY, 0, 65535 },
	{ OP_LAYER2_SEGMENT, 0, 8 },
};

static const struct op flag_ops[] = {
	{ OP_UINT64, offsetof(struct flow, packets), 8 },
	{ OP_FLAG_COUNT, 0, 4 },
	{ OP_FLAG_COUNT, 5, 4 },
	{ OP_CONSTANT, 1, 3 },
};

static const __u8 constant[4] = { 9, 1, 2, 3 };

/* Over IPv6 the plan has no tunnel, as in profile "ovs". */
static unsigned int is_tunnel_plan(unsigned int kind)
{
	return kind % 7 >= 1 && kind % 7 <= 3;
}

static struct encoder *make(void)
{
	struct op beyond = { OP_CONSTANT, 2, 3 };
	const struct plan plans[3] = {
		{ .ops = plain_ops, .op_count = 2, .record_size = 12, .template_id = 256 },
		{ .ops = tunnel_ops, .op_count = 3, .record_size = 16, .template_id = 257, .tunnel_key = 1 },
		{ .ops = flag_ops, .op_count = 4, .record_size = 19, .template_id = 258, .flags = 1 },
	};
	const struct plan wrong = { .ops = &beyond, .op_count = 1, .record_size = 3, .template_id = 259 };
	unsigned int kinds[FLOW_KINDS];
	struct encoder *encoder;

	for (unsigned int i = 0; i < FLOW_KINDS; i++)
		kinds[i] = is_tunnel_plan(i) ? 1 : i / 7 % 4 == 3 ? 2 : 0;
	CHECK(!encoder_create(&encoder, plans, 3, kinds, constant, sizeof(constant)));
	kinds[7] = 3;
	CHECK(encoder_create(&encoder, plans, 3, kinds, constant, sizeof(constant)) == -EINVAL);
	memset(kinds, 0, sizeof(kinds));
	CHECK(encoder_create(&encoder, &wrong, 1, kinds, constant, sizeof(constant)) == -EINVAL);
	beyond = (struct op){ OP_FLAG_COUNT, 6, 4 };
	CHECK(encoder_create(&encoder, &wrong, 1, kinds, constant, sizeof(constant)) == -EINVAL);
	return encoder;
}

static unsigned int get16(const __u8 *from)
{
	return from[0] << 8 | from[1];
}

/* Every size of message and buffer from the longest record on: nothing is written past either, all flows go out once. */
static void test_sizes(void)
{
	struct encoder *encoder = make();
	struct flow flows[40];
	struct message messages[40];

	for (unsigned int size = 45; size < 200; size++) {
		struct flow *pointers[40];
		__u8 *buffer = malloc(3 * size);
		unsigned int done = 0;

		for (unsigned int i = 0; i < 40; i++) {
			memset(&flows[i], 0, sizeof(flows[i]));
			flows[i].packets = i;
			flows[i].domain = 1 + i % 2;
			if (i % 3 == 0) {
				flows[i].hash = FLOW_TUNNEL;
				flows[i].key.tunnel = (struct tunnel_key){
					.type = TUNNEL_STT, .ip_version = i % 2 ? 6 : 4, .key_length = 8
				};
			}
			pointers[i] = &flows[i];
		}
		while (done < 40) {
			unsigned int count, records = 0;
			int written = encode_flows(encoder, pointers + done, 40 - done, 100, size, buffer, 3 * size,
						   messages, 40, &count);

			CHECK(written > 0 && count > 0);
			for (unsigned int i = 0; i < count; i++) {
				CHECK(messages[i].length <= size);
				CHECK(messages[i].offset + messages[i].length <= 3 * size);
				records += messages[i].records;
			}
			CHECK(records == (unsigned int)written);
			CHECK(encode_headers(buffer, messages, count, 100, 7) == 7 + records);
			CHECK(get16(buffer) == 10 && get16(buffer + 2) == messages[0].length);
			done += written;
		}
		CHECK(done == 40);
		free(buffer);
	}
	encoder_destroy(encoder);
	encoder_destroy(NULL);
}

static void test_too_small(void)
{
	struct encoder *encoder = make();
	struct flow flow = { 0 }, *pointer = &flow;
	struct message message;
	unsigned int count;
	__u8 buffer[64];

	CHECK(encode_flows(encoder, &pointer, 1, 100, 31, buffer, 64, &message, 1, &count) == -EMSGSIZE);
	CHECK(encode_flows(encoder, &pointer, 1, 100, 32, buffer, 64, &message, 1, &count) == 1);
	CHECK(message.length == 32 && message.records == 1);
	encoder_destroy(encoder);
}

/* Three records of 1 + 1/3 in each of two domains: 1, 1 and 2 minus what 2^-32 rounds. */
static void test_carry(void)
{
	struct encoder *encoder = make();
	struct flow flows[6], *pointers[6];
	struct message messages[6];
	unsigned int count;
	__u8 buffer[1024];

	for (unsigned int i = 0; i < 6; i++) {
		memset(&flows[i], 0, sizeof(flows[i]));
		flows[i].domain = i % 2;
		flows[i].packets = 1;
		flows[i].packets_fraction = 0x55555556;
		pointers[i] = &flows[i];
	}
	CHECK(encode_flows(encoder, pointers, 6, 100, 100, buffer, sizeof(buffer), messages, 6, &count) == 6);
	CHECK(flows[0].packets == 1 && flows[2].packets == 1 && flows[4].packets == 2);
	CHECK(flows[1].packets == 1 && flows[3].packets == 1 && flows[5].packets == 2);
	encoder_destroy(encoder);
}

/* A record of a VXLAN flow: counter, key with its length octet, segment. Then one that has no tunnel over IPv6. */
static void test_tunnel_record(void)
{
	static const __u8 expected[] = {
		0, 0, 0, 0, 0, 0, 0, 5,
		3, 0x12, 0x34, 0x56,
		1, 0, 0, 0, 0, 0x12, 0x34, 0x56,
	};
	struct encoder *encoder = make();
	struct flow flow = { .packets = 5, .hash = FLOW_TUNNEL }, *pointer = &flow;
	struct message message;
	unsigned int count;
	__u8 buffer[64];

	/* More of the key than the VNI has: nothing of it may reach the octet that says VXLAN. */
	flow.key.tunnel = (struct tunnel_key){ .type = TUNNEL_VXLAN, .ip_version = 4, .key_length = 3 };
	flow.key.tunnel.key = htobe64(0xffffffffff123456);
	CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
	CHECK(message.length == 20 + sizeof(expected) && get16(buffer + 16) == 257);
	CHECK(!memcmp(buffer + 20, expected, sizeof(expected)));
	flow.key.tunnel.ip_version = 6;
	CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
	CHECK(message.length == 32 && get16(buffer + 16) == 256);
	encoder_destroy(encoder);
}

static unsigned int tunnel_kind(__u8 type, __u8 version, __u8 key_length, __u64 key)
{
	struct flow flow = { .hash = type ? FLOW_TUNNEL : 0 };

	flow.key.tunnel = (struct tunnel_key){ .type = type, .ip_version = version, .key_length = key_length };
	flow.key.tunnel.key = htobe64(key);
	return flow_kind(&flow);
}

static void test_kinds(void)
{
	struct flow last = { .hash = FLOW_LINES, .key = { .vlan_count = 2, .ip_version = 6, .ip_protocol = 6 } };

	CHECK(tunnel_kind(TUNNEL_NONE, 0, 0, 0) == 0);
	CHECK(tunnel_kind(TUNNEL_GENEVE, 4, 3, 1) == 1);
	CHECK(tunnel_kind(TUNNEL_LISP, 4, 3, 1) == 1);
	CHECK(tunnel_kind(TUNNEL_STT, 4, 8, 1) == 1);
	CHECK(tunnel_kind(TUNNEL_VXLAN, 4, 3, 0) == 2);
	CHECK(tunnel_kind(TUNNEL_VXLAN, 4, 4, 1) == 1);	/* no VNI has 4 octets */
	CHECK(tunnel_kind(TUNNEL_GRE, 4, 4, 1) == 3);
	CHECK(tunnel_kind(TUNNEL_GRE, 4, 4, 0) == 1);
	CHECK(tunnel_kind(TUNNEL_IPSEC_GRE, 4, 4, 1) == 3);
	CHECK(tunnel_kind(TUNNEL_GENEVE, 6, 3, 1) == 4);
	CHECK(tunnel_kind(TUNNEL_VXLAN, 6, 3, 1) == 5);
	CHECK(tunnel_kind(TUNNEL_GRE, 6, 4, 1) == 6);
	/* What no parser says: a version or a length that there is not. */
	CHECK(tunnel_kind(TUNNEL_VXLAN, 0, 3, 1) == 0);
	CHECK(tunnel_kind(TUNNEL_STT, 4, 9, 1) == 0);
	last.key.tunnel = (struct tunnel_key){ .type = TUNNEL_GRE, .ip_version = 6, .key_length = 4, .key = 1 };
	last.key.ethertype = htobe16(0x8848);
	CHECK(flow_kind(&last) == FLOW_KINDS - 1);
	last.hash = FLOW_TUNNEL | FLOW_FLAG_COUNTS;
	CHECK(flow_kind(&last) == FLOW_KINDS / 2 - 1);
	last.key.ethertype = htobe16(0x86dd);
	CHECK(flow_kind(&last) == FLOW_KINDS / 4 - 1);
	last.key.vlan_count = 0;
	CHECK(flow_kind(&last) == FLOW_KINDS / 12 - 1);
	/* What it has no line for is not looked at. */
	last.hash = 0;
	CHECK(flow_kind(&last) % 7 == 0);
}

/* Flag counts behind the plain lines and behind the tunnel, cut and carried; none where the flow has no line of them. */
static void test_flag_counts(void)
{
	static const __u8 expected[] = { 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 2, 3 };
	static const __u8 none[] = { 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3 };
	struct encoder *encoder = make();
	struct flow flow = { .packets = 5 }, *pointer = &flow;
	struct message message;
	unsigned int count;
	__u8 buffer[64];

	flow.key.ip_version = 4;
	flow.key.ip_protocol = FLOW_PROTOCOL_TCP;
	for (unsigned int i = 0; i < 4; i++) {
		/* An outer header that the kinds do not know: no tunnel in the record, and the line is there. */
		flow.hash = FLOW_FLAG_COUNTS | (i % 2 ? FLOW_TUNNEL : 0);
		flow_flag_counts(&flow)[0] = 0x180000000;
		flow_flag_counts(&flow)[5] = ~0ull;
		CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
		CHECK(get16(buffer + 16) == 258 && message.length == 20 + sizeof(expected));
		if (i == 0)
			CHECK(!memcmp(buffer + 20, expected, sizeof(expected)));
		if (i == 1)
			CHECK(buffer[20 + 11] == 2);	/* one half and one half */
		CHECK(!memcmp(buffer + 20 + 12, expected + 12, 7));
	}
	flow.hash = 0;
	CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
	CHECK(!memcmp(buffer + 20, none, sizeof(none)));
	encoder_destroy(encoder);
}

/* Domains that alternate are brought together, and each template is told once a domain. */
static void test_used(void)
{
	struct encoder *encoder = make();
	struct flow flows[30], *pointers[30];
	const struct template_use *uses;
	struct message messages[30];
	unsigned int count, seen = 0;
	__u8 buffer[2048];

	for (unsigned int i = 0; i < 30; i++) {
		memset(&flows[i], 0, sizeof(flows[i]));
		flows[i].domain = i % 3;
		flows[i].packets = i;
		flows[i].key.ip_version = 4;
		flows[i].key.ip_protocol = i % 2 ? 6 : 17;
		pointers[i] = &flows[i];
	}
	CHECK(encode_flows(encoder, pointers, 30, 100, 128, buffer, sizeof(buffer), messages, 30, &count) == 30);
	CHECK(encoder_used(encoder, &uses) == 6);
	for (unsigned int i = 0; i < 6; i++)
		seen |= 1u << (uses[i].domain * 2 + (uses[i].template_id == 258));
	CHECK(seen == 0x3f);
	for (unsigned int i = 0; i < 30; i++)
		CHECK(pointers[i]->domain == i / 10);
	for (unsigned int i = 1; i < 5; i++)
		CHECK(pointers[i]->packets > pointers[i - 1]->packets);
	CHECK(encode_flows(encoder, pointers, 1, 100, 128, buffer, sizeof(buffer), messages, 30, &count) == 1);
	CHECK(encoder_used(encoder, &uses) == 1 && uses[0].domain == 0);
	encoder_destroy(encoder);
}

int main(void)
{
	test_flag_counts();
	test_used();
	test_tunnel_record();
	test_kinds();
	test_sizes();
	test_too_small();
	test_carry();
	return 0;
}
