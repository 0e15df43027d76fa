/*
 * A packet's octets into the window: the first ones of the frame, then those of the packet that
 * a tunnel carries. Copied, so that headers outside an skb's linear part are no special case.
 */
#ifndef XDPFIX_LOAD_H
#define XDPFIX_LOAD_H

#include "maps.h"

/* Octets in front of an inner packet that copy_frame steps over; with chains of extension headers there may be more. */
#define OFFSET_MAX 1023

/* Octets to load: 1 to WINDOW_SIZE, in a form that the verifier follows. */
static __always_inline __u32 window_length(__u32 length)
{
	length = (length < WINDOW_SIZE ? length : WINDOW_SIZE) - 1;
	OPAQUE(length);
	return (length & (WINDOW_SIZE - 1)) + 1;
}

/* The first of `length` octets from `offset` on into the window: how many, 0 when they could not be loaded. */
static __always_inline __u32 load_skb(struct __sk_buff *skb, struct window *window, __u32 offset, __u32 length)
{
	__u32 loaded = window_length(length);

	if (!length || bpf_skb_load_bytes(skb, offset, window->bytes, loaded))
		return 0;
	return loaded;
}

/* Copies what lies in the frame's first buffer, for kernels without bpf_xdp_load_bytes. */
static __always_inline void copy_frame(const struct xdp_md *xdp, struct window *window, __u64 offset)
{
	const __u8 *data = (const void *)(long)xdp->data, *end = (const void *)(long)xdp->data_end;
	__u32 word, octet;

	OPAQUE(offset);
	data += offset & OFFSET_MAX;
	UNROLL
	for (word = 0; word < WINDOW_SIZE; word += 8) {
		if (data + word + 8 > end)
			break;
		copy64(window->bytes + word, data + word);
	}
	UNROLL
	for (octet = word; octet < word + 7; octet++) {
		if (data + octet + 1 > end || octet >= WINDOW_SIZE)
			break;
		window->bytes[octet] = data[octet];
	}
}

/* Like load_skb. */
static __always_inline __u32 load_xdp(struct xdp_md *xdp, struct window *window, __u32 offset, __u32 length)
{
	__u32 loaded;

	if (!length)
		return 0;
	loaded = window_length(length);
	if (FEATURE(xdp_load_bytes))
		return bpf_xdp_load_bytes(xdp, offset, window->bytes, loaded) ? 0 : loaded;
	if (offset > OFFSET_MAX)
		return 0;
	copy_frame(xdp, window, offset);
	return loaded;
}

static __always_inline __u32 frame_length(struct xdp_md *xdp)
{
	return FEATURE(xdp_load_bytes) ? bpf_xdp_get_buff_len(xdp) : xdp->data_end - xdp->data;
}

/*
 * Like load_skb, for tracing programs: what lies in the frame's first buffer. Those behind it are pages, whose
 * addresses they do not know.
 */
static __always_inline __u32 load_probe(const struct observed *frame, struct window *window, __u32 offset,
					__u32 length)
{
	__u32 size = frame->size, loaded;

	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = size - offset;
	loaded = window_length(length);
	if (!length || bpf_probe_read_kernel(window->bytes, loaded, (void *)(long)(frame->data + offset)))
		return 0;
	return loaded;
}

#endif
