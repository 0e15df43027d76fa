/*
 * A packet's octets into the window: the first ones of the frame, then those of the packet that a tunnel carries.
 * Copied word by word where they lie in the frame's first buffer, an skb's linear part; else by the kernel's helper,
 * whose call and string move cost some 15 ns more. So headers that lie outside are no special case to the parser.
 */
#ifndef XDPFIX_LOAD_H
#define XDPFIX_LOAD_H

#include "maps.h"

/* Octets in front of an inner packet that copying steps over; with chains of extension headers there may be more. */
#define OFFSET_MAX 1023
/* Copied at once. */
#define BLOCK_SIZE 64

/* Octets to load: 1 to WINDOW_SIZE, in a form that the verifier follows. */
static __always_inline __u32 window_length(__u32 length)
{
	length = (length < WINDOW_SIZE ? length : WINDOW_SIZE) - 1;
	OPAQUE(length);
	return (length & (WINDOW_SIZE - 1)) + 1;
}

/* `size` octets: 1, 2, 4, or a multiple of 8 up to BLOCK_SIZE. False where they go past the end. */
static __always_inline bool copy_block(__u8 *to, const __u8 *from, const __u8 *end, __u32 size)
{
	__u32 word;

	/* Or bcc's compiler reckons the address anew behind the comparison, which the verifier cannot follow. */
	OPAQUE(from);
	if (from + size > end)
		return false;
	if (size == 1)
		*to = *from;
	else if (size == 2)
		copy16(to, from);
	else if (size == 4)
		copy32(to, from);
	/* With a bound of its own, for bcc unrolls before it inlines. */
	UNROLL
	for (word = 0; word < BLOCK_SIZE; word += 8)
		if (word + 8 <= size)
			copy64(to + word, from + word);
	return true;
}

/* The first `size` octets and the last ones, which may overlap, of `loaded`. */
static __always_inline bool copy_ends(__u8 *to, const __u8 *from, const __u8 *end, __u64 loaded, __u32 size)
{
	__u64 last = loaded - size;

	OPAQUE(last);
	last &= WINDOW_SIZE - 1;
	return copy_block(to + last, from + last, end, size) && copy_block(to, from, end, size);
}

/* `loaded` octets, 1 to WINDOW_SIZE, from `offset` on. False where not all of them lie between data and end. */
static __always_inline bool copy_frame(const void *data, const void *end, struct window *window, __u64 offset,
				       __u32 loaded)
{
	__u8 *to = window->bytes;
	const __u8 *from = data;

	if (offset > OFFSET_MAX)
		return false;
	OPAQUE(offset);
	from += offset & OFFSET_MAX;
	if (loaded < 2)
		return copy_block(to, from, end, 1);
	if (loaded < 4)
		return copy_ends(to, from, end, loaded, 2);
	if (loaded < 8)
		return copy_ends(to, from, end, loaded, 4);
	if (loaded < 16)
		return copy_ends(to, from, end, loaded, 8);
	if (loaded < 32)
		return copy_ends(to, from, end, loaded, 16);
	if (loaded < BLOCK_SIZE)
		return copy_ends(to, from, end, loaded, 32);
	if (!copy_ends(to, from, end, loaded, BLOCK_SIZE))
		return false;
	if (loaded > 2 * BLOCK_SIZE && !copy_block(to + BLOCK_SIZE, from + BLOCK_SIZE, end, BLOCK_SIZE))
		return false;
	return loaded <= 3 * BLOCK_SIZE || copy_block(to + 2 * BLOCK_SIZE, from + 2 * BLOCK_SIZE, end, BLOCK_SIZE);
}

/* The first of `length` octets from `offset` on into the window: how many, 0 when they could not be loaded. */
static __always_inline __u32 load_skb(struct __sk_buff *skb, struct window *window, __u32 offset, __u32 length)
{
	const void *data = (const void *)(long)skb->data, *end = (const void *)(long)skb->data_end;
	__u32 loaded = window_length(length);

	if (!length)
		return 0;
	if (!copy_frame(data, end, window, offset, loaded) && bpf_skb_load_bytes(skb, offset, window->bytes, loaded))
		return 0;
	return forget_in(window, loaded);
}

/* Like load_skb. Kernels without bpf_xdp_load_bytes have frames of one buffer only. */
static __always_inline __u32 load_xdp(struct xdp_md *xdp, struct window *window, __u32 offset, __u32 length)
{
	const void *data = (const void *)(long)xdp->data, *end = (const void *)(long)xdp->data_end;
	__u32 loaded = window_length(length);

	if (!length)
		return 0;
	if (!copy_frame(data, end, window, offset, loaded) &&
	    (!FEATURE(xdp_load_bytes) || bpf_xdp_load_bytes(xdp, offset, window->bytes, loaded)))
		return 0;
	return forget_in(window, loaded);
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
