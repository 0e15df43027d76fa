/*
 * The sample: what the BPF programs put on the ring and the flow cache ingests.
 *
 * Declarations only, in the subset that clang (BPF), cc and cffi all read: no
 * #include, no #if, no attributes. sample.h adds the guards and asserts every
 * offset. Fields named __be* are in network byte order, all others in host order.
 */

/* Direction of a packet at its observation point: IANA flowDirection (61). */
enum direction {
	DIRECTION_INGRESS = 0,
	DIRECTION_EGRESS = 1,
};

/* VMware tunnelType (PEN 6876, element 891), the numbers OVS 2.5 exports. */
enum tunnel_type {
	TUNNEL_NONE = 0,
	TUNNEL_VXLAN = 1,
	TUNNEL_GRE = 2,
	TUNNEL_LISP = 3,
	TUNNEL_STT = 4,
	TUNNEL_IPSEC_GRE = 5,
	TUNNEL_GENEVE = 7,
};

/* Bits of struct sample_meta.fragment. */
enum fragment {
	FRAGMENT_ANY = 1,	/* the packet is an IP fragment */
	FRAGMENT_LATER = 2,	/* not the first one: ports are 0 */
	FRAGMENT_MORE = 0x20,	/* as IANA's fragmentFlags (197): MF, in IPv4 or the Fragment header of IPv6 */
	FRAGMENT_DONT = 0x40,	/* DF of IPv4 */
};

/* Bits of struct sample_meta.flags: why a packet is described by less than its headers hold. */
enum sample_flag {
	SAMPLE_TRUNCATED = 1,	/* a header ran past the end of the packet */
	SAMPLE_MALFORMED = 2,	/* a length or version field contradicts the packet */
	SAMPLE_CHAIN = 4,	/* more extension headers or labels than the parser follows */
};

/*
 * Why a packet that a tunnel carries, or may carry, is described without its tunnel: on an
 * underlay interface by its outer headers, on a tunnel netdev by the inner ones alone.
 */
enum tunnel_miss {
	TUNNEL_MISS_NONE = 0,	/* it is described with its tunnel, or no tunnel has part in it */
	TUNNEL_MISS_FRAGMENT = 1,	/* the outer packet is a fragment */
	TUNNEL_MISS_HEADER = 2,	/* flags, version or a length are not those of the tunnel protocol */
	TUNNEL_MISS_SHORT = 3,	/* tunnel header or inner headers run past the end of the packet */
	TUNNEL_MISS_PAYLOAD = 4,	/* it carries neither Ethernet nor IP, or an inner IP header that contradicts itself */
	TUNNEL_MISS_SEGMENT = 5,	/* a later segment of an STT frame, whose header was in the first */
	TUNNEL_MISS_SEVERAL = 6,	/* a super-packet that holds several packets of the tunnel */
	TUNNEL_MISS_REMOTE = 7,	/* a tunnel netdev, and nobody tells the other end of this packet's tunnel */
	TUNNEL_MISSES = 8,
};

/*
 * What the XDP program of the interface, when it is observed, decided on the packet: its action plus one.
 * An action that the kernel does not know is ABORTED, as the kernel takes it.
 */
enum verdict {
	VERDICT_NONE = 0,	/* no program is observed */
	VERDICT_ABORTED = 1,
	VERDICT_DROP = 2,
	VERDICT_PASS = 3,
	VERDICT_TX = 4,
	VERDICT_REDIRECT = 5,
};

/* Outer header of an encapsulated packet. All zero: not tunnelled. 48 bytes. */
struct tunnel_key {
	__u8 src_addr[16];	/* IPv4 in the first 4 bytes, rest 0 */
	__u8 dst_addr[16];
	__be64 key;		/* VNI, GRE key or STT context, right-aligned */
	__be16 src_port;	/* 0: protocol without ports, or not known */
	__be16 dst_port;
	__u8 type;		/* enum tunnel_type */
	__u8 key_length;	/* octets of key on the wire: 2 (ERSPAN), 3, 4 or 8 */
	__u8 protocol;		/* 17 UDP, 47 GRE, 6 TCP */
	__u8 ip_version;	/* 4 or 6: of the outer header */
};

/*
 * What identifies a flow. Padding and unused fields are 0, so that keys compare
 * and hash as bytes. The tunnel comes last: a key without tunnel is the first
 * FLOW_KEY_PLAIN_SIZE bytes. 128 bytes.
 */
struct flow_key {
	__u32 ifindex;		/* observing interface */
	__u8 direction;		/* enum direction */
	__u8 ethernet_header_length;	/* 14, 18, 22; 0 on L3 devices */
	__u8 vlan_count;	/* 0, 1 or 2 tags */
	__u8 ip_version;	/* 4, 6, or 0 where there is no IP header */
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__be16 ethertype;	/* behind the tags */
	__be16 vlan_tci[2];	/* outermost first */
	__u8 ip_protocol;	/* last header of the chain that is no extension */
	__u8 ip_tos;
	__u8 ip_ttl;
	__u8 reserved1;
	__be16 src_port;	/* TCP, UDP, SCTP; ICMP: type, as a 16-bit number */
	__be16 dst_port;	/* ICMP: code */
	__u16 reserved2;
	__be32 flow_label;	/* IPv6, 20 bits */
	__be32 mpls_label;	/* top label stack entry, whole 32 bits */
	__u32 reserved3;
	__u8 src_addr[16];	/* IPv4 in the first 4 bytes, rest 0 */
	__u8 dst_addr[16];
	struct tunnel_key tunnel;
};

/* What one sampled packet (or GSO super-packet) adds to its flow, and who selected it. 48 bytes. */
struct sample_meta {
	__u64 time;		/* ns, CLOCK_MONOTONIC */
	__u64 rules;		/* bitmap of the flow rules that selected it, by their place in its generation */
	__u16 packets;		/* wire packets that this sample stands on: gso_segs, else 1 */
	__u8 verdict;		/* enum verdict */
	__u8 reserved;
	__u32 frame_octets;	/* layer 2 octets of all of them, headers included, no FCS */
	__u32 ip_octets;	/* IP total lengths of all of them; 0 without IP */
	__u32 ip_length;	/* IP total length of each of them; the last may be shorter */
	__u32 ingress_ifindex;	/* where it came into this host; 0: it was sent by it, or not known */
	__u32 egress_ifindex;	/* where it leaves this host; 0: it stays here, or not known */
	__u16 generation;	/* of the configuration that selected it: gives the weight */
	__u16 tcp_flags;	/* 12 bits, host order; 0 without TCP */
	__u8 fragment;		/* enum fragment */
	__u8 flags;		/* enum sample_flag */
	__u8 tunnel_miss;	/* enum tunnel_miss */
	__u8 main;		/* 1: selected for the main exporter */
};

struct sample {
	struct sample_meta meta;
	struct flow_key key;
};
