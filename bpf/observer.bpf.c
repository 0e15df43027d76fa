/*
 * The tracing programs on a foreign XDP program. At its entry a frame passes the gate, as in sampler.bpf.c, and is
 * parsed as it arrived; at its exit the sample gets the verdict and goes to the batch. They can change neither.
 */
#include "compat.h"
#include "maps.h"
#include "load.h"
#include "parse.h"
#include "observed.h"
#include "taken.h"
#include "tunnel_netdev.h"

#if !defined(SAMPLER_BCC)
const char observer_license[] SEC("license") = "GPL";
#endif

/* Octets into the window; notes whether it has fewer than the parser would get of a frame in one buffer. */
static __always_inline __u32 load(struct observed *waiting, struct window *window, __u32 offset, __u32 length)
{
	__u32 loaded = load_probe(waiting, window, offset, length);

	if (loaded < length && loaded < WINDOW_SIZE)
		waiting->cut = 1;
	return loaded;
}

/*
 * Fills the sample, but for the verdict. False: nothing could be read. Where the frame leaves this host is not asked:
 * tracing programs have no bpf_fib_lookup, so meta.egress_ifindex is 0.
 */
static __always_inline bool describe(struct observed *waiting, struct window *window)
{
	struct sample *sample = &waiting->sample;
	struct inner *inner = &window->inner;

	waiting->cut = 0;
	window->packet.loaded = load(waiting, window, 0, window->packet.length);
	__asm__ volatile("" ::: "memory");
	/* Drivers may leave the first buffer empty. */
	if (!window->packet.loaded && waiting->size)
		return false;
	if (parse_packet(window, sample))
		parse_inner(window, load(waiting, window, inner->offset, inner->carried), sample);
	else if (window->packet.netdev)
		take_netdev(0, sample);
	if (!(sample->meta.flags & SAMPLE_TRUNCATED) && sample->meta.tunnel_miss != TUNNEL_MISS_SHORT)
		waiting->cut = 0;
	return true;
}

SEC("fentry")
int observe_entry(__u64 *context)
{
	void *frame = (void *)(long)context[0];
	const void *device = frame_device(frame);
	__u32 ifindex = MEMBER(__u32, device, device_ifindex), slot;
	struct gate *gate = find_gate(ifindex, DIRECTION_INGRESS, &slot);
	struct packet packet = {};
	struct observed *waiting;
	struct taken taken;

	if (!gate || !(gate->flags & GATE_OBSERVED) || !is_ours(device) || !take(gate, slot, 1, &taken))
		return 0;
	waiting = observed_begin(taken.cpu);
	if (!waiting || !admit(&taken, 1))
		return 0;
	find_data(frame, waiting);
	packet_begin(&packet, &taken);
	packet.segments = 1;
	packet.length = whole_length(frame, waiting);
	taken.window->packet = packet;
	sample_begin(&waiting->sample, &taken, ifindex, DIRECTION_INGRESS);
	if (!describe(waiting, taken.window)) {
		batch_abandon(taken.cpu, KERNEL_LOST_UNREADABLE, 1);
		return 0;
	}
	if (!select_rules(taken.place, &taken.cpu->random, &waiting->sample)) {
		batch_abandon(taken.cpu, KERNEL_UNSELECTED, 1);
		return 0;
	}
	batch_release(taken.cpu);
	observed_wait(waiting, frame, gate, slot);
	return 0;
}

/* The return value lies behind the foreign program's one argument. Behind tail calls it is that of the last program. */
SEC("fexit")
int observe_exit(__u64 *context)
{
	struct observed *waiting = observed_end((const void *)(long)context[0]);
	__u32 action = context[1], processor, word;
	struct cpu_state *cpu;
	struct sample *sample;

	if (!waiting)
		return 0;
	processor = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	if (!cpu)
		return 0;
	waiting->sample.meta.verdict = action > XDP_REDIRECT ? VERDICT_ABORTED : VERDICT_ABORTED + action;
	sample = batch_resume(cpu);
	if (!sample)
		return 0;
	UNROLL
	for (word = 0; word < sizeof(*sample); word += 8)
		copy64((__u8 *)sample + word, (const __u8 *)&waiting->sample + word);
	if (waiting->cut)
		count(cpu, KERNEL_BUFFER, 1);
	batch_append(context, cpu, sample, 1);
	return 0;
}
