/* Flows: a key and its counters, in the cache and on the way to the encoder. Declarations only: read by cc and cffi. */

/* Why a flow ended: IANA flowEndReason (136). */
enum flow_end {
	FLOW_END_NONE = 0,	/* it lives */
	FLOW_END_IDLE = 1,
	FLOW_END_ACTIVE = 2,
	FLOW_END_DETECTED = 3,	/* TCP FIN or RST */
	FLOW_END_FORCED = 4,
	FLOW_END_RESOURCES = 5,
};

/*
 * Counters are scaled by the weight of their samples, in 32.32 fixed point: the
 * integer in one field, the fraction in another. They saturate instead of
 * wrapping. Times are ns of CLOCK_MONOTONIC; wall time is that plus wall_offset,
 * frozen when the flow starts, so that a clock step cannot put its end before its
 * start. 256 bytes, four cache lines; counting a packet without tunnel touches
 * the first three.
 */
struct flow {
	__u64 hash;	/* top bit: the key has a tunnel */
	__u32 domain;	/* observationDomainId (149) */
	__u32 point;	/* observationPointId (138) */
	__u64 first;
	__u64 last;
	__u64 packets;
	__u64 frame_octets;
	__u64 ip_octets;
	__u64 ip_octets_sumsq;
	__u32 packets_fraction;
	__u32 frame_octets_fraction;
	__u32 ip_octets_fraction;
	__u32 ip_octets_sumsq_fraction;
	__u32 ip_length_min;
	__u32 ip_length_max;
	__u32 samples;
	__u16 tcp_flags;
	__u8 fragment;	/* enum fragment, of all samples */
	__u8 end_reason;	/* enum flow_end */
	__u32 index_next;	/* ids of other flows, as the links below */
	__u32 id;	/* this flow's place in the slab */
	__u32 older;
	__u32 newer;
	struct flow_key key;
	__s64 wall_offset;
	__u32 wheel_prev;
	__u32 wheel_next;
};

/* Bytes of `key` that identify the flow: the tunnel counts only where there is one. */
unsigned int flow_key_size(const struct flow_key *key);

/*
 * Kinds of flows: what decides the template. A kind is
 * ((l2 * 3 + l3) * 4 + l4) * 7 + tunnel, with l2 0 untagged, 1 VLAN; l3 0 none,
 * 1 IPv4, 2 IPv6; l4 0 other, 1 UDP or SCTP, 2 ICMP of that IP version, 3 TCP;
 * tunnel 0 none, else 1 + outer * 3 + key, with outer 0 IPv4, 1 IPv6, and key by
 * the IANA element that can say it: 0 none, 1 a VNI of VXLAN, 2 a GRE key.
 */
#define FLOW_KINDS 168
unsigned int flow_kind(const struct flow_key *key);
