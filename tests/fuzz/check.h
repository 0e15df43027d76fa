/* What must hold for the sample of any frame whatever; the fuzzer and the truncation test share it. */
#ifndef XDPFIX_FUZZ_CHECK_H
#define XDPFIX_FUZZ_CHECK_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static inline void check_address(const __u8 *address, __u8 version)
{
	static const __u8 zeros[16];
	size_t used = version == 6 ? 16 : version == 4 ? 4 : 0;

	CHECK(!memcmp(address + used, zeros, 16 - used));
}

/* Most that segmentation takes out of a super-packet: IPv6's jumbo option. */
#define UNSENT_MAX 8

/* `length` octets are what the frame or super-packet has, which stands for `segments` packets. */
static inline void check_sample(const struct sample *sample, __u32 length, __u32 segments, __u32 l3)
{
	static const struct tunnel_key no_tunnel;
	const struct sample_meta *meta = &sample->meta;
	const struct flow_key *key = &sample->key;

	CHECK(!key->reserved1 && !key->reserved2 && !key->reserved3);
	CHECK(!meta->rules && !meta->ingress_ifindex && !meta->egress_ifindex);
	CHECK(!key->ifindex && !key->direction && !meta->time && !meta->generation);
	CHECK(meta->packets == segments);
	if (l3 && key->ip_version)
		CHECK(meta->frame_octets == meta->ip_octets);
	else
		CHECK(segments > 1 ? meta->frame_octets + UNSENT_MAX >= length : meta->frame_octets == length);
	CHECK(meta->frame_octets <= (__u64)length * segments);
	CHECK(meta->ip_octets <= meta->frame_octets && meta->ip_length <= meta->ip_octets);
	CHECK(meta->tcp_flags <= 0x0fff);
	CHECK(!(meta->flags & ~(SAMPLE_TRUNCATED | SAMPLE_MALFORMED | SAMPLE_CHAIN)));
	CHECK(!(meta->fragment & ~(FRAGMENT_ANY | FRAGMENT_LATER | FRAGMENT_MORE | FRAGMENT_DONT)));
	CHECK(!(meta->fragment & FRAGMENT_ANY) == !(meta->fragment & (FRAGMENT_LATER | FRAGMENT_MORE)));
	CHECK(!(meta->fragment & FRAGMENT_DONT) || key->ip_version == 4);
	CHECK(!(meta->fragment & FRAGMENT_LATER) || (!key->src_port && !key->dst_port && !meta->tcp_flags));
	CHECK(key->vlan_count <= 2);
	CHECK(key->vlan_count == 2 || !key->vlan_tci[1]);
	CHECK(key->vlan_count || !key->vlan_tci[0]);
	CHECK(key->ethernet_header_length == (l3 || !key->ethernet_header_length ? 0 : 14 + 4 * key->vlan_count));
	CHECK(key->ip_version == 0 || key->ip_version == 4 || key->ip_version == 6);
	check_address(key->src_addr, key->ip_version);
	check_address(key->dst_addr, key->ip_version);
	CHECK(key->ip_version == 6 || !key->flow_label);
	if (key->ip_version)
		CHECK(meta->ip_octets >= (key->ip_version == 4 ? 20 : 40));
	else
		CHECK(!meta->ip_octets && !meta->fragment && !meta->tcp_flags && !key->ip_protocol && !key->ip_tos &&
		      !key->ip_ttl && !key->src_port && !key->dst_port);
	CHECK(!meta->tunnel_miss && !memcmp(&key->tunnel, &no_tunnel, sizeof(no_tunnel)));
}

/* Destination ports of tunnels, the defaults of the product. */
static inline const struct port_tunnels *tunnel_ports(void)
{
	static struct port_tunnels ports[PORT_ENTRIES];

	ports[4789 / 8].type[4789 % 8] = ports[8472 / 8].type[8472 % 8] = TUNNEL_VXLAN;
	ports[6081 / 8].type[6081 % 8] = TUNNEL_GENEVE;
	ports[4341 / 8].type[4341 % 8] = TUNNEL_LISP;
	ports[7471 / 8].type[7471 % 8] = PORT_STT;
	return ports;
}

/* `plain` is the sample of the same packet without a look into tunnels. */
static inline void check_tunnel(const struct sample *sample, const struct sample *plain)
{
	const struct tunnel_key *tunnel = &sample->key.tunnel;
	struct sample copy = *sample;
	__u8 key[8];

	CHECK(sample->meta.tunnel_miss < TUNNEL_MISSES);
	if (!tunnel->type) {
		/* The outer flow, as if nobody had looked. */
		copy.meta.tunnel_miss = 0;
		CHECK(!memcmp(&copy, plain, sizeof(copy)));
		return;
	}
	CHECK(!sample->meta.tunnel_miss && !(plain->meta.fragment & FRAGMENT_ANY));
	CHECK(tunnel->protocol == plain->key.ip_protocol && tunnel->ip_version == plain->key.ip_version);
	CHECK(tunnel->src_port == plain->key.src_port && tunnel->dst_port == plain->key.dst_port);
	CHECK(!memcmp(tunnel->src_addr, plain->key.src_addr, 16) && !memcmp(tunnel->dst_addr, plain->key.dst_addr, 16));
	CHECK(tunnel->key_length == 2 || tunnel->key_length == 3 || tunnel->key_length == 4 || tunnel->key_length == 8);
	memcpy(key, &tunnel->key, sizeof(key));
	for (int i = 0; i < 8 - tunnel->key_length; i++)
		CHECK(!key[i]);
	CHECK(!(sample->meta.flags & (SAMPLE_TRUNCATED | SAMPLE_MALFORMED)));
	CHECK(sample->meta.packets == plain->meta.packets);
	/* What is carried is less than what carries it. A fuzzer's super-packets have sizes that cannot be. */
	CHECK(sample->meta.packets > 1 || sample->meta.frame_octets < plain->meta.frame_octets);
	CHECK(sample->meta.ip_octets <= sample->meta.frame_octets);
	CHECK(sample->key.ethernet_header_length || sample->meta.ip_octets == sample->meta.frame_octets);
}

/*
 * Leaves `octet` all over the stack that the parser will use: its window is there, not
 * cleared, where no sanitizer sees it read what was not written.
 */
static __attribute__((noinline)) void soil_stack(__u8 octet)
{
	volatile __u8 dirt[8192];

	for (size_t i = 0; i < sizeof(dirt); i++)
		dirt[i] = octet;
}

/* Where the IP packet ends in the frame, if its begin can be told from the sample; else all of the frame. */
static inline __u32 ip_end(const struct sample *sample, const __u8 *frame, __u32 captured)
{
	const struct flow_key *key = &sample->key;
	__u32 type = key->ethernet_header_length - 2, start = key->ethernet_header_length;

	if (!key->ip_version || key->ethertype != htons(key->ip_version == 4 ? 0x0800 : 0x86dd))
		return captured;
	if (start && (frame[type] << 8 | frame[type + 1]) < 0x0600)
		start += 8;	/* LLC and SNAP */
	return start + sample->meta.ip_octets < captured ? start + sample->meta.ip_octets : captured;
}

/* The frame in memory of its own, so that the address sanitizer sees a read behind its last octet. */
static inline struct sample parse_segments(const __u8 *frame, __u32 captured, __u32 length, __u32 l3, __u32 segments,
					   __u32 segment_size)
{
	struct frame_info info = { .length = length, .segments = segments, .segment_size = segment_size, .l3 = l3 };
	__u8 *copy = malloc(captured ? captured : 1);
	struct sample plain, tunnelled, again;

	if (captured)
		memcpy(copy, frame, captured);
	/* Not one octet of the output may be what was there before. */
	memset(&plain, 0xff, sizeof(plain));
	memset(&tunnelled, 0xff, sizeof(tunnelled));
	memset(&again, 0, sizeof(again));
	soil_stack(0x00);
	CHECK(!parse_super_packet(copy, captured, &info, NULL, &plain));
	soil_stack(0x00);
	CHECK(!parse_super_packet(copy, captured, &info, tunnel_ports(), &tunnelled));
	/* Nor may one octet of it come from what was not captured, or from behind the IP packet. */
	for (__u32 i = ip_end(&plain, copy, captured); i < captured && segments == 1; i++)
		copy[i] = ~copy[i];
	soil_stack(0xff);
	CHECK(!parse_super_packet(copy, captured, &info, tunnel_ports(), &again));
	CHECK(!memcmp(&tunnelled, &again, sizeof(again)));
	soil_stack(0xff);
	CHECK(!parse_super_packet(copy, captured, &info, NULL, &again));
	CHECK(!memcmp(&plain, &again, sizeof(again)));
	check_sample(&plain, length, segments, l3);
	check_tunnel(&tunnelled, &plain);
	free(copy);
	return plain;
}

static inline struct sample parse_exact(const __u8 *frame, __u32 captured, __u32 length, __u32 l3)
{
	return parse_segments(frame, captured, length, l3, 1, 0);
}

#endif
