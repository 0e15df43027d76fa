/* A message of the kernel's psample family: which attributes it has. */
#ifndef XDPFIX_PSAMPLE_MESSAGE_H
#define XDPFIX_PSAMPLE_MESSAGE_H

#include <stdbool.h>

#include "state.h"

#define PSAMPLE_COOKIE 8	/* octets of Open vSwitch's: domain, point, in network byte order */

/* What a message says. Pointers are into its octets. All 0 for what it does not say, but for `length`. */
struct psample_message {
	const __u8 *data;	/* the packet's first octets */
	const __u8 *cookie;	/* NULL: it has none */
	__u32 captured;	/* octets at `data` */
	__u32 cookie_length;
	__u32 length;	/* octets of the packet; those at `data` where it is not said */
	__u32 group;
	__u32 sequence;
	__u32 rate;	/* N of 1 in N, or with `probability` a share of 2^32 - 1 */
	__u32 ingress_ifindex;
	__u32 egress_ifindex;
	__u64 timestamp;	/* ns since 1970 */
	__u16 protocol;	/* ethertype, host order */
	bool has_group;
	bool has_sequence;
	bool probability;	/* where its mark is missing, too */
	bool has_tunnel;
	struct tunnel_key tunnel;	/* addresses, ports, key and ip_version; type, protocol and key_length are not said */
};

/*
 * Reads one netlink message of `length` octets. Returns 0, -ENOMSG for what is no sample, -EBADMSG for a sample whose
 * attributes contradict themselves, or that lacks group or rate.
 */
int psample_decode(const void *octets, __u32 length, struct psample_message *out);

#endif
