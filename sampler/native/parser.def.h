/*
 * The BPF parser and gate, compiled for user space. Declarations only: read by cc and cffi.
 */

/*
 * Parses a frame of `length` octets, of which the first `captured` are given, into `out`.
 * l3: it starts at the IP header. Interface, direction, time and generation stay 0.
 * Returns 0, or -EINVAL when more is captured than the frame has.
 */
int parse_frame(const void *frame, __u32 captured, __u32 length, __u32 l3, struct sample *out);

/*
 * Like parse_frame, for what an skb knows beside the frame: `segments` wire packets with
 * `segment_size` octets of payload each (GSO), and a VLAN tag held out of band.
 */
int parse_super_packet(const void *frame, __u32 captured, __u32 length, __u32 l3, __u32 segments, __u32 segment_size,
		       __u32 vlan_present, __u16 vlan_tci, struct sample *out);
