/* What an observed XDP program decided, in C, for the sanitizers: in the cache, in memory, in records. */
#include <endian.h>
#include <math.h>
#include <string.h>

#include "cache.h"
#include "check.h"
#include "encode.h"

#define SECOND 1000000000ull

static const struct op ops[] = {
	{ OP_UINT64, offsetof(struct flow, packets), 8 },
	{ OP_UINT64, offsetof(struct flow, ip_octets), 8 },
	{ OP_FORWARDING_STATUS, 0, 1 },
	{ OP_DROPPED_PACKETS, 0, 8 },
	{ OP_DROPPED_OCTETS, 0, 8 },
};

/* Records of one layout, whatever the kind. */
static struct encoder *make_encoder(void)
{
	const struct plan plan = { .ops = ops, .op_count = 5, .record_size = 33, .template_id = 259,
				   .ip = 1, .verdict = 1 };
	unsigned int kinds[FLOW_KINDS] = { 0 };
	struct encoder *encoder;

	CHECK(!encoder_create(&encoder, &plan, 1, kinds, NULL, 0));
	return encoder;
}

/* A cache in which every packet counts for itself. */
static struct cache *make_cache(int full)
{
	const struct cache_config config = { .active_timeout = 60 * SECOND, .max_flows = 100, .ingress = 1, .full = full };
	const struct selector selector = { .number = SELECTOR_MAIN, .factor = 1, .unit = 1 };
	struct weight weight = { .log_miss = -INFINITY, .scale = 1, .table = { 0, 1ull << 32 } };
	struct cache *cache;

	CHECK(!cache_create(&cache, &config, 42));
	CHECK(!cache_set_weight(cache, &weight, &selector, 1));
	return cache;
}

static void ingest(struct cache *cache, __u8 verdict)
{
	struct sample sample = { 0 };

	sample.meta.time = SECOND;
	sample.meta.main = 1;
	sample.meta.packets = 1;
	sample.meta.ip_octets = sample.meta.ip_length = 40;
	sample.meta.verdict = verdict;
	sample.key.ip_version = 4;
	sample.key.ip_protocol = FLOW_PROTOCOL_TCP;
	cache_ingest(cache, &sample, 1);
}

/* One flow, whatever is decided on its packets; none of it in profile "ovs"; of its own beside packets without. */
static void test_flows(int full)
{
	static const __u8 verdicts[] = { VERDICT_DROP, VERDICT_ABORTED, VERDICT_TX, VERDICT_DROP, VERDICT_PASS, 200 };
	static const __u8 last[] = { VERDICT_DROP, VERDICT_ABORTED, VERDICT_TX, VERDICT_TX, VERDICT_PASS, 200 };
	static const __u64 dropped[] = { 1, 2, 2, 3, 3, 3 };
	struct cache *cache = make_cache(full);
	struct flow flows[3];

	for (unsigned int i = 0; i < sizeof(verdicts); i++) {
		ingest(cache, verdicts[i]);
		CHECK(cache_copy(cache, flows, 3) == 1 && flows[0].packets == i + 1);
		CHECK(flows[0].verdict.last == (full ? last[i] : VERDICT_NONE));
		CHECK(flows[0].verdict.dropped_packets == (full ? dropped[i] : 0));
		CHECK(flows[0].verdict.dropped_ip_octets == (full ? 40 * dropped[i] : 0));
	}
	ingest(cache, VERDICT_NONE);
	CHECK(cache_copy(cache, flows, 3) == (full ? 2u : 1u));
	CHECK(flows[0].packets == sizeof(verdicts) + !full);
	CHECK(!full || (flows[1].packets == 1 && !(flows[1].hash & FLOW_VERDICT)));
	cache_destroy(cache);
}

static unsigned int get16(const __u8 *from)
{
	return from[0] << 8 | from[1];
}

static __u64 get64(const __u8 *from)
{
	__u64 value;

	memcpy(&value, from, sizeof(value));
	return be64toh(value);
}

/* Whatever else a flow has: memory of its lines and no more, the verdict in the last of them, any number in it. */
static void test_lines(void)
{
	struct encoder *encoder = make_encoder();

	for (unsigned int i = 0; i < 4 * 256; i++) {
		__u32 hash = FLOW_VERDICT | (i % 2 ? FLOW_TUNNEL : 0) | (i / 2 % 2 ? FLOW_FLAG_COUNTS : 0);
		unsigned int lines = 1 + i % 2 + i / 2 % 2, count, status = 0;
		struct flow *flow = calloc(1, FLOW_PLAIN_SIZE + lines * FLOW_LINE);
		struct message message;
		__u8 buffer[64];

		flow->hash = hash;
		CHECK(flow_extra_lines(hash) == lines && flow_extra_lines(hash & ~FLOW_VERDICT) == lines - 1);
		CHECK((char *)(flow_verdict(flow) + 1) == (char *)flow + FLOW_PLAIN_SIZE + lines * FLOW_LINE);
		flow->packets = flow->ip_octets = 7;
		flow_verdict(flow)->last = i / 4;
		flow_verdict(flow)->dropped_packets = 2;
		flow_verdict(flow)->dropped_ip_octets = 3;
		CHECK(encode_flows(encoder, &flow, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
		CHECK(get16(buffer + 16) == 259 && message.length == 20 + 33);
		CHECK(get64(buffer + 20) == 7 && get64(buffer + 28) == 7);
		CHECK(get64(buffer + 37) == 2 && get64(buffer + 45) == 3);
		switch (i / 4) {
		case VERDICT_ABORTED:
		case VERDICT_DROP:
			status = 128;
			break;
		case VERDICT_PASS:
			status = 64;
			break;
		case VERDICT_TX:
		case VERDICT_REDIRECT:
			status = 66;
			break;
		}
		CHECK(buffer[36] == status);
		free(flow);
	}
	encoder_destroy(encoder);
}

/* Packets (32.32) of which so many are dropped. */
static struct flow verdict_flow(__u64 packets, __u64 dropped)
{
	struct flow flow = { .hash = FLOW_VERDICT };

	flow.packets = flow.ip_octets = packets >> 32;
	flow.packets_fraction = flow.ip_octets_fraction = (__u32)packets;
	flow_verdict(&flow)->dropped_packets = flow_verdict(&flow)->dropped_ip_octets = dropped >> 32;
	flow_verdict(&flow)->dropped_packets_fraction = flow_verdict(&flow)->dropped_ip_octets_fraction = (__u32)dropped;
	return flow;
}

/* Flows of one packet and a part, dropped, half dropped, passed: each record fits itself, and their sums the sums. */
static void test_carry(void)
{
	const __u64 one = 1ull << 32, packets = one + one / 7 * 6;
	struct encoder *encoder = make_encoder();
	__u64 sum = 0, dropped = 0, octets = 0, dropped_octets = 0;
	struct message message;
	unsigned int count;
	__u8 buffer[64];

	for (unsigned int i = 1; i <= 3000; i++) {
		const __u64 part = i % 3 == 0 ? packets : i % 3 == 1 ? one / 2 : 0;
		struct flow flow = verdict_flow(packets, part), *pointer = &flow;
		__u64 all, none;

		CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
		all = get64(buffer + 20);
		none = get64(buffer + 37);
		CHECK(none <= all && (i % 3 || none == all) && (i % 3 != 2 || !none));
		CHECK(get64(buffer + 45) == none && get64(buffer + 28) == all);
		sum += all;
		dropped += none;
		octets += get64(buffer + 28);
		dropped_octets += get64(buffer + 45);
	}
	/* What went on and what did not are both short of their sums by less than one. */
	CHECK(dropped == (1000 * packets + 1000 * (one / 2)) >> 32 && dropped_octets == dropped);
	CHECK(sum - dropped == (2000 * packets - 1000 * (one / 2)) >> 32 && octets == sum);
	encoder_destroy(encoder);
}

/* At the end of the numbers there are no fractions, and nothing wraps. */
static void test_saturation(void)
{
	struct encoder *encoder = make_encoder();
	struct message message;
	unsigned int count;
	__u8 buffer[64];

	for (unsigned int i = 0; i < 4; i++) {
		struct flow flow = verdict_flow(1ull << 31, 1ull << 31), *pointer = &flow;

		flow.packets = flow.ip_octets = ~0ull;
		flow_verdict(&flow)->dropped_packets = i % 2 ? ~0ull : 5;
		CHECK(encode_flows(encoder, &pointer, 1, 100, 64, buffer, 64, &message, 1, &count) == 1);
		CHECK(get64(buffer + 20) == ~0ull && get64(buffer + 28) == ~0ull);
		CHECK(i % 2 ? get64(buffer + 37) == ~0ull : get64(buffer + 37) <= 6);
	}
	encoder_destroy(encoder);
}

int main(void)
{
	test_flows(0);
	test_flows(1);
	test_lines();
	test_carry();
	test_saturation();
	return 0;
}
