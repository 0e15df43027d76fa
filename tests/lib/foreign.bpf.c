/* Foreign XDP programs for tests (lib/foreign.py): they decide by an octet of the frame, and count what they decided. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ACTION 11	/* the last octet of the source's MAC address */
#define ETHERNET 14
#define ACTIONS 8	/* the kernel knows five; what is above counts as the last */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ACTIONS);
	__type(key, __u32);
	__type(value, __u64);
} decided SEC(".maps");

/* Where XDP_REDIRECT goes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

char terms[] SEC("license") = "GPL";

static __always_inline int decide(struct xdp_md *frame)
{
	const __u8 *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	__u32 action, key, zero = 0, *to;
	__u64 *count;

	action = data + ETHERNET <= end ? data[ACTION] : XDP_ABORTED;
	key = action < ACTIONS ? action : ACTIONS - 1;
	count = bpf_map_lookup_elem(&decided, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	to = bpf_map_lookup_elem(&target, &zero);
	return action == XDP_REDIRECT && to ? bpf_redirect(*to, 0) : (int)action;
}

/* What tracing costs is measured over it (bench/observed.py). */
SEC("xdp")
int foreign_empty(struct xdp_md *frame)
{
	return XDP_PASS;
}

SEC("xdp")
int foreign_program_with_a_long_name(struct xdp_md *frame)
{
	return decide(frame);
}

SEC("xdp.frags")
int foreign_frags(struct xdp_md *frame)
{
	return decide(frame);
}

/* Decides, and leaves nothing of the frame as it was. */
SEC("xdp")
int foreign_rewrite(struct xdp_md *frame)
{
	int action = decide(frame), octet;
	__u8 *data;

	if (bpf_xdp_adjust_head(frame, -32))
		return XDP_ABORTED;
	data = (void *)(long)frame->data;
	if (data + 96 > (__u8 *)(long)frame->data_end)
		return XDP_ABORTED;
	for (octet = 0; octet < 96; octet++)
		data[octet] = 0xff;
	return action;
}

SEC("xdp")
int foreign_last(struct xdp_md *frame)
{
	return decide(frame);
}

SEC("xdp")
int foreign_first(struct xdp_md *frame)
{
	bpf_tail_call(frame, &next, 0);
	return XDP_ABORTED;
}

/* A dispatcher, like libxdp's, of one program, which replaces this function. */
__attribute__((noinline)) int member(struct xdp_md *frame)
{
	volatile int action = XDP_ABORTED;

	return frame ? action : XDP_DROP;
}

/* Its own verdict: what the member lets pass, it aborts. */
SEC("xdp")
int foreign_dispatcher(struct xdp_md *frame)
{
	int action = member(frame);

	return action == XDP_PASS ? XDP_ABORTED : action;
}

SEC("freplace")
int foreign_extension(struct xdp_md *frame)
{
	return decide(frame);
}

/*
 * Sends frames of several buffers back with their first octets at the end of the first buffer, which holds `target`
 * of them; the rest is in the second one, and what was between is gone.
 */
SEC("xdp.frags")
int foreign_cut(struct xdp_md *frame)
{
	__u32 zero = 0, *left = bpf_map_lookup_elem(&target, &zero);
	__u8 headers[64];
	long cut;

	if (!left || bpf_xdp_load_bytes(frame, 0, headers, sizeof(headers)))
		return XDP_DROP;
	cut = (long)frame->data_end - (long)frame->data - *left;
	/* The verifier takes the difference of pointers in 64 bits only. */
	__asm__ volatile("" : "+r"(cut));
	if (bpf_xdp_adjust_head(frame, cut))
		return XDP_DROP;
	return bpf_xdp_store_bytes(frame, 0, headers, sizeof(headers)) ? XDP_DROP : XDP_TX;
}

/* The kernel does not take this for a frame. */
SEC("xdp")
int foreign_untyped(void *frame)
{
	return XDP_PASS;
}
