/*
 * From the entry of an observed XDP program to its exit: the frame as the kernel has it, and the sample that waits
 * for the verdict. Not in the batch's slot: the CPU's busy mark would stand as long as the foreign program runs.
 */
#ifndef XDPFIX_OBSERVED_H
#define XDPFIX_OBSERVED_H

#include "batch.h"
#include "gates.h"

#if !defined(SAMPLER_BCC)
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct observed);
} observed SEC(".maps");
#endif

/*
 * A member of one of the kernel's own structures. The verifier knows the structure and what lies at the offset, so
 * that a pointer there can be followed in turn; at a wrong address the kernel reads 0.
 */
#define MEMBER(type, structure, offset) (*(const type *)((const __u8 *)(structure) + FEATURE(offset)))

/* The frame's struct net_device. */
static __always_inline const void *frame_device(const void *frame)
{
	return MEMBER(void *, MEMBER(void *, frame, frame_queue), queue_device);
}

/* Whether the device is in our network namespace: its number in another one may be that of an interface here. */
static __always_inline bool is_ours(const void *device)
{
	return MEMBER(__u32, MEMBER(void *, device, device_namespace), namespace_number) == FEATURE(own_namespace);
}

/* Where the frame's first octets are, in memory: what the verifier does not know it need not follow. */
static __always_inline void find_data(const void *frame, struct observed *waiting)
{
	__u64 data = (long)MEMBER(void *, frame, frame_data), end = (long)MEMBER(void *, frame, frame_end);

	waiting->data = data;
	waiting->size = end - data;
	__asm__ volatile("" ::: "memory");
}

/* Octets of all its buffers. Before Linux 5.18 there is one. */
static __always_inline __u32 whole_length(void *frame, const struct observed *waiting)
{
	return FEATURE(xdp_load_bytes) ? bpf_xdp_get_buff_len(frame) : waiting->size;
}

/* The scratch, empty. What is still in it had no exit: somebody attached to the program or detached meanwhile. */
static __always_inline struct observed *observed_begin(struct cpu_state *cpu)
{
	__u32 zero = 0;
	struct observed *waiting = bpf_map_lookup_elem(MAP(observed), &zero);

	if (waiting && waiting->frame) {
		count(cpu, KERNEL_LOST_VERDICT, 1);
		waiting->frame = 0;
	}
	return waiting;
}

/* The sample is filled. */
static __always_inline void observed_wait(struct observed *waiting, const void *frame, const struct gate *gate,
					  __u32 slot)
{
	waiting->queue = (long)MEMBER(void *, frame, frame_queue);
	waiting->drawn = gate->drawn;
	waiting->skip = gate->skip;
	waiting->slot = slot;
	__asm__ volatile("" ::: "memory");
	*(volatile __u64 *)&waiting->frame = (long)frame;
}

/*
 * The scratch, where it holds the sample of the frame that leaves, else NULL. Drivers keep every frame's struct
 * xdp_buff at the same place, so a frame that was not sampled is told from one without exit by the gate: it has
 * counted every frame since.
 */
static __always_inline struct observed *observed_end(const void *frame)
{
	__u32 zero = 0;
	struct observed *waiting = bpf_map_lookup_elem(MAP(observed), &zero);
	const struct gate *gate;

	if (!waiting || waiting->frame != (__u64)(long)frame)
		return 0;
	gate = bpf_map_lookup_elem(MAP(gates), &waiting->slot);
	if (!gate || gate->drawn != waiting->drawn || gate->skip != waiting->skip)
		return 0;
	if (waiting->queue != (__u64)(long)MEMBER(void *, frame, frame_queue))
		return 0;
	*(volatile __u64 *)&waiting->frame = 0;
	return waiting;
}

#endif
