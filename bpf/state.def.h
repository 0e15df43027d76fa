/*
 * What the BPF programs and the sampler share in maps: batches on their way to
 * user space, gates, counters and the sampling configuration.
 *
 * Declarations only, like sample.def.h, and read by the same three compilers.
 */

/* Samples in a batch, put on the perf ring by one call. */
#define BATCH_SIZE 64

/*
 * Samples of one CPU, in the order they were taken. `sequence` counts the samples
 * appended on this CPU since the program was loaded. Slot i holds sample number
 * sequence - sequence % BATCH_SIZE + i for every i < sequence % BATCH_SIZE. On the
 * ring a batch is full: it holds the samples sequence - BATCH_SIZE .. sequence - 1.
 */
struct batch {
	__u64 sequence;
	struct sample samples[BATCH_SIZE];
};

/* Where a selected sample ended, as far as the kernel side knows. */
enum kernel_counter {
	KERNEL_SELECTED = 0,	/* taken by a gate */
	KERNEL_APPENDED = 1,	/* written to a batch */
	KERNEL_LOST_BUDGET = 2,	/* over the sample budget of this CPU and second */
	KERNEL_LOST_NESTED = 3,	/* would have interrupted another sample on this CPU */
	KERNEL_LOST_UNREADABLE = 4,	/* the packet's first bytes could not be loaded */
	KERNEL_LOST_VERDICT = 5,	/* taken at the entry of an observed XDP program, whose exit was not seen */
	KERNEL_LOST_RING = 6,	/* at most so many: their batch found no room on the perf ring; some had been peeked */
	KERNEL_UNSELECTED = 7,	/* not appended: no rule takes it, nor the main exporter. No loss */
	KERNEL_TRUNCATED = 8,	/* appended, with SAMPLE_TRUNCATED */
	KERNEL_MALFORMED = 9,	/* appended, with SAMPLE_MALFORMED */
	KERNEL_BUFFER = 10,	/* appended, but headers lie behind the first buffer of a frame of several, unread */
	KERNEL_CHAIN = 11,	/* appended, with SAMPLE_CHAIN */
	KERNEL_TUNNEL_FRAGMENT = 12,	/* appended, with the tunnel_miss of that name; in its order */
	KERNEL_TUNNEL_HEADER = 13,
	KERNEL_TUNNEL_SHORT = 14,
	KERNEL_TUNNEL_PAYLOAD = 15,
	KERNEL_TUNNEL_SEGMENT = 16,
	KERNEL_TUNNEL_SEVERAL = 17,
	KERNEL_TUNNEL_REMOTE = 18,
	KERNEL_COUNTERS = 19,
};

/* One a possible CPU, in the mmapable array `cpus`, written by that CPU alone. */
struct cpu_state {
	struct batch batch;
	__u64 window_start;	/* ns: begin of the second that the budget counts */
	__u32 window_samples;
	__u32 busy;	/* a sample is being taken */
	__u64 random;	/* of next_random: user space writes the first one */
	__u64 packets_before;	/* appended, but for those of the batch that is being filled */
	__u64 samples[KERNEL_COUNTERS];
	__u64 packets[KERNEL_COUNTERS];	/* wire packets those samples stand on, unweighted */
};

/* Bits of struct gate.flags. */
enum gate_flag {
	GATE_L3 = 1,	/* frames of this interface start at the IP header */
	GATE_TUNNEL = 2,	/* a tunnel netdev: its packets are inner ones, see struct tunnel_port */
	GATE_OBSERVED = 4,	/* only tracing programs, on the interface's own XDP program, count its packets */
};

/*
 * The gate of one CPU, interface and direction: a slot of the per-CPU array `gates`
 * at (2 * ifindex + direction + 2 * probe) modulo GATE_SLOTS for the first free
 * probe < GATE_PROBES. Packets observed = drawn + behind - skip. While these change, skip is 0.
 */
#define GATE_SLOTS 8192
#define GATE_PROBES 4
struct gate {
	__u32 ifindex;	/* 0: free */
	__u16 flags;	/* enum gate_flag */
	__u16 selection;	/* low bits of the number of the selection that the current draw was made by */
	__u64 skip;	/* packets up to and including the next one to take; 0: not drawn yet */
	__u64 drawn;	/* sum of all draws */
	__u64 behind;	/* packets behind a hit in the same super-packet */
};

/*
 * The selection in force is numbered by the one word of the mmapable array `selection`, and its
 * settings lie in `config` at that number modulo SELECTIONS. User space writes the place that is not
 * in use, stores the next number, and waits for the programs that have read the number before.
 */
#define SELECTIONS 2

struct sampling_config {
	__u64 scale;	/* 1 / log2(1 / (1 - p)), 32.32 fixed point; 0: p = 1 */
	__u32 generation;	/* what its samples carry, 16 bits */
	__u32 budget;	/* samples a CPU and second; 0: no limit */
	__u64 main_threshold;	/* of 2^64: of what the gate takes, the main exporter takes so many; 0: all */
	__u8 tunnels;	/* describe packets by what tunnels carry; 0: by what is on the wire */
	__u8 routes;	/* ask the kernel's routing where packets that come in leave this host */
	__u8 nothing;	/* the gate takes no packet */
	__u8 reserved[5];
};

/* Of a gate, who looks at its packets: in the array `gate_rules` at its slot, the other selection's GATE_SLOTS behind. */
struct gate_rules {
	__u64 rules;	/* bitmap, by place in the selection */
	__u64 main;	/* 1: the main exporter, too */
};

/*
 * The flow rules of a selection, in the array `rule_tables` at its place. A rule accepts a sample when it is in
 * the set that each table has for the sample's octet at that offset, and in those of the ports.
 */
#define RULES_MAX 64
#define RULE_OCTETS 160	/* more than a rule can look at: some are not known yet */
#define RULE_OCTETS_END 255	/* the offset behind the last table in use */
#define RULE_SRC_PORT 1
#define RULE_DST_PORT 2
struct rule_tables {
	__u64 thinned;	/* the rules that are rarer than the gate */
	__u64 threshold[64];	/* of 2^64: of what the gate takes and the rule accepts, it takes so many */
	__u32 ports;	/* RULE_SRC_PORT, RULE_DST_PORT: whose table is asked */
	__u32 reserved;
	__u8 offset[160];	/* in struct sample */
	__u64 accepting[160][256];	/* rules by the value of the octet there */
};

/* In the array `port_rules` at place * PORT_TABLES, and one behind for the destination port. */
#define PORT_TABLES 2
struct port_rules {
	__u64 accepting[65536];	/* rules by port, in host order */
};

/*
 * What destination ports mean, eight of them an entry of the array `port_tunnels`: the
 * entry port / 8 has at port % 8 the tunnel type (enum tunnel_type) of that UDP port, 0 for
 * none, and PORT_STT besides where the TCP port is STT's.
 */
#define PORT_STT 0x80
#define PORT_ENTRIES 8192
struct port_tunnels {
	__u8 type[8];
};

/* Bits of struct tunnel_port.flags. */
enum tunnel_port_flag {
	TUNNEL_PORT_EXTERNAL = 1,	/* collect-metadata mode: the skb tells the tunnel */
	TUNNEL_PORT_NEIGHBOURS = 2,	/* the remote depends on the inner MAC address: see struct tunnel_neighbour */
};

/*
 * A tunnel netdev, by ifindex in the hash `tunnel_ports`: what its link says. Addresses
 * like those of struct tunnel_key; keys right-aligned, in network byte order.
 */
struct tunnel_port {
	__u8 local[16];	/* 0: any */
	__u8 remote[16];	/* 0: not fixed */
	__be64 key_in;
	__be64 key_out;
	__be16 port;	/* UDP destination port, 0 for GRE */
	__u8 type;	/* enum tunnel_type */
	__u8 key_length;	/* octets of key: 2, 3 or 4 */
	__u8 protocol;	/* 17 UDP, 47 GRE */
	__u8 local_version;	/* 4 or 6; 0: no local address */
	__u8 remote_version;	/* 4 or 6; 0: no fixed remote address */
	__u8 flags;	/* enum tunnel_port_flag */
};

/* The place of an inner MAC address in the forwarding database of a vxlan netdev; all zero: where unknown ones go. */
struct tunnel_neighbour_key {
	__u32 ifindex;
	__be32 vni;	/* right-aligned: NDA_SRC_VNI, else the link's */
	__u8 mac[6];
	__u16 reserved;
};

/* Behind which tunnel end that address is: the hash `tunnel_neighbours`. */
struct tunnel_neighbour {
	__u8 remote[16];
	__be32 vni;	/* on the wire where it is not the link's (NDA_VNI), else 0 */
	__be16 port;	/* likewise NDA_PORT, else 0 */
	__u8 version;	/* 4 or 6 */
	__u8 reserved;
};

/* log2(1 + i / LOG2_STEPS) as 0.63 fixed point, for i = 0 .. LOG2_STEPS. */
#define LOG2_STEPS 1024
struct log2_table {
	__u64 value[1025];
};

/*
 * A frame between entry and exit of an observed XDP program, one a CPU: the per-CPU array `observed`, which each
 * observed program has of its own. The exit is of this frame when all the addresses are the same, and no other
 * frame has passed the gate.
 */
struct observed {
	__u64 frame;	/* address of its struct xdp_buff; 0: there is none */
	__u64 queue;	/* address of its struct xdp_rxq_info */
	__u64 drawn;	/* as the gate was left */
	__u64 skip;
	__u32 slot;	/* of the gate */
	__u32 cut;	/* 1: its sample counts under KERNEL_BUFFER */
	__u64 data;	/* address of its first octet */
	__u32 size;	/* octets in its first buffer */
	__u32 reserved;
	struct sample sample;
};

/* What the running kernel has that not every one has: told to the programs before they are loaded. */
struct kernel_features {
	/* bpf_xdp_load_bytes and bpf_xdp_get_buff_len: Linux 5.18, commit 3f364222d032 */
	__u32 xdp_load_bytes;
	/* bpf_skb_get_xfrm_state at tc: CONFIG_XFRM */
	__u32 skb_xfrm_state;
	/* For tracing programs only, else 0: where members are in the kernel's own structures, by its BTF */
	__u32 frame_data;	/* struct xdp_buff */
	__u32 frame_end;
	__u32 frame_queue;
	__u32 queue_device;	/* struct xdp_rxq_info */
	__u32 device_ifindex;	/* struct net_device */
	__u32 device_namespace;
	__u32 namespace_number;	/* struct net */
	/* The number of our own network namespace, an inode's */
	__u32 own_namespace;
};
