/* Flows: a key and its counters, in the cache and on the way to the encoder. Declarations only: read by cc and cffi. */

/* Why a flow ended: IANA flowEndReason (136). */
enum flow_end {
	FLOW_END_NONE = 0,
	FLOW_END_IDLE = 1,
	FLOW_END_ACTIVE = 2,
	FLOW_END_DETECTED = 3,	/* TCP FIN or RST */
	FLOW_END_FORCED = 4,
	FLOW_END_RESOURCES = 5,
};

/*
 * What the observed XDP program decided on a flow's packets. Counters as in struct
 * flow: of the packets that it dropped. One cache line.
 */
struct flow_verdict {
	__u64 dropped_packets;
	__u64 dropped_ip_octets;
	__u32 dropped_packets_fraction;
	__u32 dropped_ip_octets_fraction;
	__u8 last;	/* enum verdict: of the last packet that it let go on; where it dropped all, of the last */
	__u8 reserved[39];
};

/*
 * Counters are scaled by the weight of their samples, in 32.32 fixed point: the
 * integer in one field, the fraction in another. They saturate instead of wrapping.
 * Times are ns of CLOCK_MONOTONIC while the flow lives. When it ends they become wall
 * time, ns since 1970, by the offset that was frozen when it started: so a clock step
 * cannot put its end before its start.
 *
 * In cache lines: the first three are any flow's, up to the end of a key without
 * tunnel. The tunnel is a fourth, the flag counts of TCP are one more where they do not
 * fit the key (flags.h), and what an XDP program decided is another, each right behind
 * what is there. A flow has no more memory than its lines: see flow.h. A copy for people
 * (cache_copy) has all six, at the places below.
 */
struct flow {
	__u32 hash;	/* in its top bits: which lines there are */
	__u32 index_next;	/* ids of other flows, as the links below */
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
	__u8 tcp_flags;	/* of all samples, the eight of octet 13 of the header */
	__u8 fragment;	/* enum fragment, of all samples */
	__u8 ttl_min;
	__u8 ttl_max;
	__u32 other_ifindex;	/* where it goes (ingress) or came from (egress), the last that was known; 0: none was */
	__u32 id;	/* this flow's place in the slab */
	union {
		__u32 older;
		__u32 end_reason;	/* enum flow_end, once it ended */
	};
	__u32 newer;
	struct flow_key key;
	__u8 reserved1[16];
	__u64 flag_counts[6];	/* packets with FIN, SYN, RST, PSH, ACK, URG: 32 bits and 32 behind the point */
	__u8 reserved2[16];
	struct flow_verdict verdict;
};

/*
 * Kinds of flows: what decides the template. A kind is
 * ((((verdict * 2 + mpls) * 3 + l2) * 3 + l3) * 4 + l4) * 7 + tunnel, with verdict 1
 * where an XDP program was observed that decided; mpls 1 for a labelled packet;
 * l2 the number of VLAN tags, at most 2; l3 0 none, 1 IPv4, 2 IPv6; l4 0 other, 1 UDP
 * or SCTP, 2 ICMP of that IP version, 3 TCP; tunnel 0 none, else 1 + outer * 3 + key,
 * with outer 0 IPv4, 1 IPv6, and key by the IANA element that can say it: 0 none, 1 a
 * VNI of VXLAN, 2 a GRE key.
 */
#define FLOW_KINDS 1008
unsigned int flow_kind(const struct flow *flow);
