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

/* Over IPv6 the plan has no tunnel, as in profile "ovs". */
static unsigned int is_tunnel_plan(unsigned int kind)
{
	return kind % 7 >= 1 && kind % 7 <= 3;
}

static struct encoder *make(void)
{
	const struct plan plans[2] = {
		{ .ops = plain_ops, .op_count = 2, .record_size = 12, .template_id = 256 },
		{ .ops = tunnel_ops, .op_count = 3, .record_size = 16, .template_id = 257, .tunnel_key = 1 },
	};
	unsigned int kinds[FLOW_KINDS];
	struct encoder *encoder;

	for (unsigned int i = 0; i < FLOW_KINDS; i++)
		kinds[i] = is_tunnel_plan(i);
	CHECK(!encoder_create(&encoder, plans, 2, kinds));
	kinds[7] = 2;
	CHECK(encoder_create(&encoder, plans, 2, kinds) == -EINVAL);
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
			flows[i].domain = i < 20 ? 1 : 2;
			if (i % 3 == 0)
				flows[i].key.tunnel = (struct tunnel_key){
					.type = TUNNEL_STT, .ip_version = i % 2 ? 6 : 4, .key_length = 8
				};
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
	struct flow flow = { .packets = 5 }, *pointer = &flow;
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
	struct flow_key flow_key = { .tunnel = { .type = type, .ip_version = version, .key_length = key_length } };

	flow_key.tunnel.key = htobe64(key);
	return flow_kind(&flow_key);
}

static void test_kinds(void)
{
	struct flow_key last = { .vlan_count = 2, .ip_version = 6, .ip_protocol = 6 };

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
	last.tunnel = (struct tunnel_key){ .type = TUNNEL_GRE, .ip_version = 6, .key_length = 4, .key = 1 };
	CHECK(flow_kind(&last) == FLOW_KINDS - 1);
}

int main(void)
{
	test_tunnel_record();
	test_kinds();
	test_sizes();
	test_too_small();
	test_carry();
	return 0;
}
