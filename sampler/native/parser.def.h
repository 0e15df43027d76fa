/*
 * The BPF parser and gate, compiled for user space. Declarations only: read by cc and cffi.
 */

/* What is known of a frame beside its octets. */
struct frame_info {
	__u32 length;	/* octets of the frame, captured or not */
	__u32 segments;	/* wire packets that it stands for (GSO, GRO), 1 to 65535 */
	__u32 segment_size;	/* octets of payload in each of them */
	__u16 vlan_tci;	/* of a VLAN tag held beside it */
	__u8 vlan_present;
	__u8 l3;	/* it starts at the IP header */
};

/*
 * Parses a frame, of which the first `captured` octets are given, into `out`. `ports` are the
 * PORT_ENTRIES entries of destination ports that are tunnels'; NULL: no tunnel is followed, not
 * even GRE. Interface, direction, time and generation stay 0.
 * Returns 0, or -EINVAL when more is captured than the frame has, or it stands for no packet or too many.
 */
int parse_super_packet(const void *frame, __u32 captured, const struct frame_info *info,
		       const struct port_tunnels *ports, struct sample *out);

/*
 * The gate's draw: packets up to and including the next one to take, geometric by the
 * table and scale of struct sampling_config, from 64 random bits.
 */
__u64 gate_gap(const struct log2_table *table, __u64 scale, __u64 random);

/* The mean of gate_gap over `strata` random words evenly spread: shows its error without chance. */
double gate_mean(const struct log2_table *table, __u64 scale, __u64 strata);
