/*
 * The cursor that walks the headers of one packet inside a window of its first bytes.
 *
 * Every parse function takes a cursor that stands on its header, checks the bounds
 * first, and returns whether the cursor now stands behind it. The kind of the next
 * header is a typed field: an ethertype is never compared with a protocol.
 */
#ifndef XDPFIX_CURSOR_H
#define XDPFIX_CURSOR_H

#include "compat.h"

/* Octets of a packet that the parser sees. A power of two: offsets are masked with it. */
#define WINDOW_SIZE 256
/* Largest fixed header (IPv6 has 40) that may be read behind a masked offset. */
#define WINDOW_SLACK 64

/* What is known of a packet beside its bytes. */
struct packet {
	__u32 length;	/* octets of the frame or super-packet, headers included, no FCS */
	__u32 loaded;	/* of these, octets in the window */
	__u32 segments;	/* wire packets it stands for, at least 1 */
	__u32 segment_size;	/* octets of layer 4 payload in each; 0: not known */
	__be16 protocol;	/* ethertype by the device; 0: not known */
	__be16 vlan_tci;	/* the tag held beside the frame: the outermost one */
	__u8 vlan_present;
	__u8 l3;	/* starts at the IP header: no Ethernet */
	__u8 tunnels;	/* look into tunnels */
	__u8 netdev;	/* of a tunnel netdev: a tunnel carried it here */
};

/* What a tunnel's packet carries: where it lies, what the tunnel header says, and what was found in it. */
struct inner {
	struct packet packet;
	__u32 offset;	/* octets in front of it */
	__u32 carried;	/* octets of it that are here: less than its length in the first segment of STT */
	__be64 key;
	__u8 type;	/* enum tunnel_type */
	__u8 key_length;
	__u16 reserved1;
	__u32 reserved2;
	struct sample sample;
};

/*
 * The packet being parsed; one a CPU. In memory, not in registers: what the verifier does
 * not know it need not follow.
 */
struct window {
#if SAMPLER_KERNEL
	__u8 bytes[WINDOW_SIZE + WINDOW_SLACK];
#else
	const __u8 *bytes;	/* nothing is copied: where the packet lies; the parser looks at none but those loaded */
#endif
	struct packet packet;
	__u64 aside;	/* see forget_in() */
	__u8 header[16];	/* of an skb whose segments are counted, see segments.h */
	__u64 route[8];	/* struct bpf_fib_lookup, see route.h */
	struct inner inner;
#if !SAMPLER_KERNEL
	const struct port_tunnels *ports;	/* PORT_ENTRIES; NULL: no port is a tunnel's */
#endif
};

#if SAMPLER_KERNEL
/* sampler/kernel/maps.py makes the map by this size. */
_Static_assert(sizeof(struct window) == 656, "window is a map's value");
#endif

struct cursor {
	struct window *window;
	__u8 *flags;	/* enum sample_flag, in the sample */
	__u64 position;	/* octets behind the cursor */
	__u64 loaded;	/* octets in the window */
	__u64 limit;	/* where the packet ends, by the innermost length field read */
	__u64 layer4;	/* position of the TCP, UDP, GRE … header, once it is found */
	__u32 unsent;	/* octets of the super-packet that no segment carries */
	__be16 ethertype;	/* of the next header while in layer 2 */
	__u8 protocol;	/* of the next header while in layer 3 */
};

/*
 * Makes the verifier forget what it knows of a number, by way of memory. It would follow
 * every path that led here on its own; now it sees that they are the same.
 */
static __always_inline __u64 forget_in(struct window *window, __u64 number)
{
	if (!SAMPLER_KERNEL)
		return number;
	*(volatile __u64 *)&window->aside = number;
	return *(volatile __u64 *)&window->aside;
}

static __always_inline __u64 forget(struct cursor *cursor, __u64 number)
{
	return forget_in(cursor->window, number);
}

/* Stands behind the next `size` octets and points `header` at them, or says why not. */
static __always_inline bool pull(struct cursor *cursor, __u64 size, const __u8 **header)
{
	__u64 offset = cursor->position;

	if (offset + size > cursor->limit) {
		*cursor->flags |= SAMPLE_TRUNCATED;
		return false;
	}
	if (offset + size > cursor->loaded) {
		/* The packet goes on, the window does not: cut by a capture, or too many headers. */
		*cursor->flags |= cursor->loaded < WINDOW_SIZE ? SAMPLE_TRUNCATED : SAMPLE_CHAIN;
		return false;
	}
	cursor->position = offset + size;
	OPAQUE(offset);
	*header = cursor->window->bytes + (offset & (WINDOW_SIZE - 1));
	return true;
}

/* Steps over `size` octets that are not looked at; they need not be in the window. */
static __always_inline bool skip(struct cursor *cursor, __u64 size)
{
	if (cursor->position + size > cursor->limit) {
		*cursor->flags |= SAMPLE_TRUNCATED;
		return false;
	}
	cursor->position += size;
	return true;
}

#endif
