/* What messages of psample say, what becomes of their packets, and which of a group's numbers are missing. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "check.h"
#include "psample.h"

static __u8 octets[4096];
static __u32 size;

static void begin(void)
{
	memset(octets, 0, sizeof(octets));
	size = NLMSG_HDRLEN + GENL_HDRLEN;
}

static void put(__u16 type, const void *payload, __u16 length)
{
	struct nlattr header = { .nla_len = NLA_HDRLEN + length, .nla_type = type };

	memcpy(octets + size, &header, sizeof(header));
	if (length)
		memcpy(octets + size + NLA_HDRLEN, payload, length);
	size += NLA_ALIGN(header.nla_len);
}

static void put16(__u16 type, __u16 value)
{
	put(type, &value, sizeof(value));
}

static void put32(__u16 type, __u32 value)
{
	put(type, &value, sizeof(value));
}

static void end(void)
{
	struct nlmsghdr header = { .nlmsg_len = size, .nlmsg_type = 0x20 };

	memcpy(octets, &header, sizeof(header));
}

/* In memory of its own, so that the address sanitizer sees a read behind it. */
static int decode(struct psample_message *out)
{
	static __u8 *copy;

	free(copy);
	copy = malloc(size);
	memcpy(copy, octets, size);
	return psample_decode(copy, size, out);
}

static const __u8 frame[] = {
	2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2,
	0x03, 0xe8, 0, 53, 0, 10, 0, 0, 1, 2,
};

static void sample_message(__u32 rate)
{
	begin();
	put32(5, rate);
	put32(2, 1500);
	put32(3, 10);
	put(6, frame, sizeof(frame));
}

static void test_decode(void)
{
	struct psample_message message;
	__u64 time = 1700000000000000123ULL;
	__u8 cookie[16] = { 1 };

	sample_message(400);
	put16(0, 7);
	put32(1, 70000);
	put32(4, 99);
	put(13, &time, sizeof(time));
	put16(14, 0x0800);
	put(15, cookie, sizeof(cookie));
	put(16, NULL, 0);
	put(999, cookie, 3);
	end();
	CHECK(!decode(&message));
	CHECK(message.rate == 400 && message.length == 1500 && message.group == 10 && message.captured == sizeof(frame));
	CHECK(!memcmp(message.data, frame, sizeof(frame)) && message.ingress_ifindex == 7);
	CHECK(message.egress_ifindex == 70000 && message.sequence == 99 && message.has_sequence);
	CHECK(message.timestamp == time && message.protocol == 0x0800 && message.probability && !message.has_tunnel);
	CHECK(message.cookie_length == 16 && message.cookie[0] == 1);
}

static void test_other_messages(void)
{
	struct psample_message message;

	sample_message(1);
	end();
	octets[NLMSG_HDRLEN] = 2;	/* PSAMPLE_CMD_NEW_GROUP */
	CHECK(decode(&message) == -ENOMSG);
	sample_message(1);
	end();
	octets[4] = NLMSG_ERROR;
	octets[5] = 0;
	CHECK(decode(&message) == -ENOMSG);
	size = 19;
	CHECK(decode(&message) == -ENOMSG);
}

/* Linux 6.11 to 6.12.6 has no room for the mark of a probability where the packet fills the message's memory. */
static void test_lost_mark(void)
{
	const struct {
		__u32 rate, sequence;
		__u16 cookie;
		bool probability;
	} cases[] = {
		{ 0xffffffff, 0, 8, true }, { 655 * 65537, 0, 8, true }, { 65537, 0, 8, true },
		/* tc: a rate, the cookie of an action, or a group that counts. */
		{ 400, 0, 8, false }, { 65536, 0, 8, false }, { 65537, 0, 4, false }, { 65537, 1, 8, false },
	};
	struct psample_message message;
	const __u8 cookie[8] = { 1 };

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sample_message(cases[i].rate);
		put32(4, cases[i].sequence);
		put(15, cookie, cases[i].cookie);
		end();
		CHECK(!decode(&message) && message.probability == cases[i].probability);
	}
}

/* What contradicts itself is no sample, wherever it is cut. */
static void test_broken(void)
{
	struct psample_message message;
	__u32 whole;

	sample_message(1);
	put16(14, 0x0800);
	end();
	whole = size;
	CHECK(!decode(&message));
	for (size = NLMSG_HDRLEN + GENL_HDRLEN; size < whole; size++)
		CHECK(decode(&message) == -EBADMSG);
	sample_message(0);	/* no rate */
	end();
	CHECK(decode(&message) == -EBADMSG);
	sample_message(1);
	put16(5, 1);	/* a rate of two octets */
	end();
	CHECK(decode(&message) == -EBADMSG);
	sample_message(1);
	put32(2, sizeof(frame) - 1);	/* shorter than its data */
	end();
	CHECK(decode(&message) == -EBADMSG);
	begin();
	put32(5, 1);
	put(6, frame, sizeof(frame));	/* of no group */
	end();
	CHECK(decode(&message) == -EBADMSG);
	sample_message(1);
	put16(8, 0);	/* a tunnel of half an attribute */
	end();
	CHECK(!decode(&message) && message.has_tunnel);
	sample_message(1);
	put32(8, 3);	/* and of an attribute that is shorter than its header */
	end();
	CHECK(decode(&message) == -EBADMSG);
}

static void describe(const struct psample_view *view, struct sample *out, struct psample_stats *stats)
{
	struct psample_message message;

	end();
	CHECK(!decode(&message));
	memset(stats, 0, sizeof(*stats));
	psample_describe(view, &message, out, stats);
}

static void test_interfaces(void)
{
	const struct psample_link links[] = { { .ifindex = 2, .mtu = 1500 }, { .ifindex = 3, .mtu = 1400 } };
	struct psample_view view = { .links = links, .link_count = 2 };
	struct psample_stats stats;
	struct sample sample;

	sample_message(1);
	put16(0, 2);
	describe(&view, &sample, &stats);
	CHECK(sample.key.ifindex == 2 && sample.key.direction == DIRECTION_INGRESS && sample.meta.ingress_ifindex == 2);
	CHECK(!sample.meta.egress_ifindex && sample.meta.frame_octets == 1500 && sample.key.dst_port == htons(53));
	CHECK(stats.cut == 1 && !stats.super_packets && !stats.without_interface);
	put16(1, 3);	/* tc at egress of a packet that was forwarded */
	describe(&view, &sample, &stats);
	CHECK(sample.key.ifindex == 3 && sample.key.direction == DIRECTION_EGRESS && sample.meta.ingress_ifindex == 2);
	CHECK(sample.meta.egress_ifindex == 3 && stats.super_packets == 1);
	view.direction = PSAMPLE_DIRECTION_INGRESS;
	describe(&view, &sample, &stats);
	CHECK(sample.key.ifindex == 2 && sample.key.direction == DIRECTION_INGRESS && sample.meta.egress_ifindex == 3);
	sample_message(1);
	put16(1, 3);
	describe(&view, &sample, &stats);
	CHECK(sample.key.ifindex == 3 && sample.key.direction == DIRECTION_EGRESS);
	sample_message(1);
	describe(&view, &sample, &stats);
	CHECK(!sample.key.ifindex && stats.without_interface == 1);
}

/* A packet that begins at its IP header: the link says so, or of an unknown link the octets. */
static void test_layer3(void)
{
	const struct psample_link links[] = { { .ifindex = 5, .mtu = 1500, .l3 = 1 } };
	struct psample_view view = { .links = links, .link_count = 1 };
	struct psample_stats stats;
	struct sample sample;

	for (__u16 ifindex = 5; ifindex < 7; ifindex++) {
		begin();
		put32(5, 1);
		put32(3, 10);
		put16(0, ifindex);
		put16(14, 0x0800);
		put(6, frame + 14, sizeof(frame) - 14);
		describe(&view, &sample, &stats);
		CHECK(sample.key.ip_version == 4 && !sample.key.ethernet_header_length && sample.meta.ip_octets == 30);
	}
	sample_message(1);
	put16(0, 6);
	put16(14, 0x0800);
	describe(&view, &sample, &stats);
	CHECK(sample.key.ip_version == 4 && sample.key.ethernet_header_length == 14);
}

static void put_tunnel(__be16 port)
{
	__u32 start = size, length;
	__be64 key = htobe64(77);
	const __u8 from[] = { 203, 0, 113, 1 }, to[] = { 203, 0, 113, 2 };

	size += NLA_HDRLEN;
	put(0, &key, sizeof(key));
	put(1, from, sizeof(from));
	put(2, to, sizeof(to));
	if (port) {
		put(9, &port, sizeof(port));
		put(10, &port, sizeof(port));
	}
	length = size - start - NLA_HDRLEN;
	size = start;
	put(8, memcpy((__u8[512]){ 0 }, octets + start + NLA_HDRLEN, length), length);
}

static void test_tunnels(void)
{
	static struct port_tunnels ports[PORT_ENTRIES];
	const struct psample_link links[] = {
		{ .ifindex = 2, .mtu = 1500 },
		{ .ifindex = 4, .mtu = 1500, .tunnel_type = TUNNEL_GENEVE, .key_length = 3, .protocol = 17, .port = 6081 },
	};
	struct psample_view view = { .links = links, .link_count = 2, .ports = ports };
	struct psample_stats stats;
	struct sample sample;
	const struct tunnel_key *tunnel = &sample.key.tunnel;

	ports[4789 / 8].type[4789 % 8] = TUNNEL_VXLAN;
	sample_message(1);
	put16(0, 4);
	put_tunnel(0);
	describe(&view, &sample, &stats);
	CHECK(tunnel->type == TUNNEL_GENEVE && tunnel->key == htobe64(77) && tunnel->dst_port == htons(6081));
	CHECK(tunnel->key_length == 3 && tunnel->protocol == 17 && tunnel->ip_version == 4);
	CHECK(tunnel->src_addr[3] == 1 && tunnel->dst_addr[3] == 2 && sample.key.dst_port == htons(53));
	/* tc: the packet came by a tunnel, and here it is without. */
	sample_message(1);
	put16(0, 2);
	put_tunnel(htons(4789));
	describe(&view, &sample, &stats);
	CHECK(!tunnel->type && !stats.unknown_tunnel);
	put(16, NULL, 0);	/* Open vSwitch: it is about to leave by one */
	describe(&view, &sample, &stats);
	CHECK(tunnel->type == TUNNEL_VXLAN && tunnel->src_port == htons(4789) && tunnel->protocol == 17);
	sample_message(1);
	put_tunnel(0);
	describe(&view, &sample, &stats);
	CHECK(tunnel->type == TUNNEL_GRE && tunnel->protocol == 47 && tunnel->key_length == 4);
	sample_message(1);
	put_tunnel(htons(9));
	describe(&view, &sample, &stats);
	CHECK(!tunnel->type && !tunnel->ip_version && stats.unknown_tunnel == 1);
	view.ports = NULL;	/* enable_tunnel_sampling = false */
	sample_message(1);
	put16(0, 4);
	put_tunnel(0);
	describe(&view, &sample, &stats);
	CHECK(!tunnel->type && !stats.unknown_tunnel);
}

static void test_sequence(void)
{
	const __u32 used[] = { 0x7fffffff, 0x80000001, 0xc0000000, 0xfff00000 - 1 };
	struct sequence sequence = { .known = false };

	CHECK(!sequence_look(&sequence));
	/* From any number on, over the end of the numbers, out of order: nothing is lost. */
	sequence_see(&sequence, 0xffffffef);
	for (__u32 i = 0; i < 100; i++)
		sequence_see(&sequence, (0xfffffff0 + i) ^ 1);
	CHECK(!sequence_look(&sequence) && !sequence_look(&sequence));
	/* A gap counts at the second look, if nothing filled it. */
	sequence_see(&sequence, sequence.highest + 4);
	CHECK(!sequence_look(&sequence));
	sequence_see(&sequence, sequence.highest - 1);
	CHECK(sequence_look(&sequence) == 2 && !sequence_look(&sequence));
	/* What the socket lost is no second loss, whether its numbers were passed yet or not. */
	sequence_excuse(&sequence, 50);
	CHECK(!sequence_look(&sequence) && !sequence_look(&sequence));
	sequence_see(&sequence, sequence.highest + 51);
	CHECK(!sequence_look(&sequence) && !sequence_look(&sequence));
	/* Numbers that two CPUs drew, and a group that was made anew. */
	sequence_see(&sequence, sequence.highest);
	sequence_see(&sequence, 1000000);
	CHECK(!sequence_look(&sequence));
	for (__u32 i = 0; i < 5; i++)
		sequence_see(&sequence, i);
	CHECK(sequence.highest == 4 && !sequence_look(&sequence) && !sequence_look(&sequence));
	/* So was one that had given more than half of the numbers: from there, 0 lies ahead. */
	for (__u32 i = 0; i < sizeof(used) / sizeof(used[0]); i++) {
		sequence = (struct sequence){ .known = false };
		sequence_see(&sequence, used[i]);
		for (__u32 number = 0; number < 5; number++)
			sequence_see(&sequence, number);
		CHECK(sequence.highest == 4 && !sequence_look(&sequence) && !sequence_look(&sequence));
	}
	/* While a long loss is a loss, over the end of the numbers, too. */
	sequence = (struct sequence){ .known = false };
	sequence_see(&sequence, 0xffffff00);
	sequence_see(&sequence, 0xfff);
	CHECK(!sequence_look(&sequence) && sequence_look(&sequence) == 0x10fe);
}

int main(void)
{
	test_decode();
	test_other_messages();
	test_lost_mark();
	test_broken();
	test_interfaces();
	test_layer3();
	test_tunnels();
	test_sequence();
	return 0;
}
