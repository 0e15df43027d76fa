/*
 * The programs. A packet passes the gate, and only if it is taken is it loaded, parsed
 * and appended to this CPU's batch. Whatever happens, it is passed on.
 */
#include "compat.h"
#include "maps.h"
#include "gate.h"
#include "load.h"
#include "parse.h"
#include "batch.h"
#include "segments.h"
#include "tunnel_netdev.h"

#if !defined(SAMPLER_BCC)
const char sampler_license[] SEC("license") = "GPL";
#endif

/* The gate of an interface and direction, or NULL where it is not sampled. */
static __always_inline struct gate *find_gate(__u32 ifindex, __u32 direction)
{
	struct gate *gate;
	__u32 probe, slot;

	UNROLL
	for (probe = 0; probe < GATE_PROBES; probe++) {
		slot = (2 * ifindex + direction + 2 * probe) % GATE_SLOTS;
		gate = bpf_map_lookup_elem(MAP(gates), &slot);
		if (gate && gate->ifindex == ifindex)
			return gate;
	}
	return 0;
}

static __always_inline __u64 random64(void)
{
	return (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
}

/* Behind the fast path: whether a packet is taken, and by which generation. */
static __always_inline bool gate_takes(struct gate *gate, const struct sampling_config *settings, __u64 segments,
				       __u16 *generation)
{
	const struct log2_table *table;
	__u32 zero = 0;

	table = bpf_map_lookup_elem(MAP(log2_table), &zero);
	if (!table)
		return false;
	if (!gate->skip) {
		gate_draw(gate, settings, table, random64());
		if (gate_skips(gate, segments))
			return false;
	}
	*generation = gate->generation;
	gate->behind += segments - gate->skip;
	gate_draw(gate, settings, table, random64());
	return true;
}

static __always_inline void sample_skb(struct __sk_buff *skb, __u32 direction)
{
	struct gate *gate = find_gate(skb->ifindex, direction);
	const struct sampling_config *settings;
	__u32 processor, zero = 0;
	struct packet packet = {};
	struct cpu_state *cpu;
	struct window *window;
	struct sample *sample;
	__u16 generation = 0;

	if (!gate)
		return;
	packet.segments = skb_segments(skb, gate->flags & GATE_L3);
	if (gate_skips(gate, packet.segments))
		return;
	settings = bpf_map_lookup_elem(MAP(config), &zero);
	window = bpf_map_lookup_elem(MAP(windows), &zero);
	processor = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	if (!settings || !window || !cpu || !gate_takes(gate, settings, packet.segments, &generation))
		return;
	sample = batch_reserve(cpu, settings, bpf_ktime_get_ns(), packet.segments);
	if (!sample)
		return;
	packet.length = skb->len;
	packet.loaded = load_skb(skb, window, 0, packet.length);
	if (!packet.loaded) {
		batch_abandon(cpu, KERNEL_LOST_UNREADABLE, packet.segments);
		return;
	}
	packet.segment_size = packet.segments > 1 ? skb->gso_size : 0;
	packet.protocol = skb->protocol;
	packet.vlan_present = skb->vlan_present;
	packet.vlan_tci = packet.vlan_present ? BE16(skb->vlan_tci) : 0;
	packet.l3 = gate->flags & GATE_L3;
	packet.tunnels = settings->tunnels && !(gate->flags & GATE_TUNNEL);
	packet.netdev = settings->tunnels && gate->flags & GATE_TUNNEL;
	sample->meta.generation = generation;
	sample->meta.main = 1;
	sample->key.ifindex = skb->ifindex;
	sample->key.direction = direction;
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	if (parse_packet(window, sample)) {
		parse_inner(window, load_skb(skb, window, window->inner.offset, window->inner.carried), sample);
		if (direction == DIRECTION_INGRESS)
			mark_ipsec(skb, &sample->key.tunnel);
	} else if (window->packet.netdev) {
		take_netdev(skb, sample);
	}
	batch_append(skb, cpu, sample, packet.segments);
}

SEC("tc")
int sample_tc_ingress(struct __sk_buff *skb)
{
	sample_skb(skb, DIRECTION_INGRESS);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int sample_tc_egress(struct __sk_buff *skb)
{
	sample_skb(skb, DIRECTION_EGRESS);
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int sample_xdp(struct xdp_md *xdp)
{
	struct gate *gate = find_gate(xdp->ingress_ifindex, DIRECTION_INGRESS);
	struct packet packet = {};
	const struct sampling_config *settings;
	__u32 processor, zero = 0;
	struct cpu_state *cpu;
	struct window *window;
	struct sample *sample;
	__u16 generation = 0;

	if (!gate || gate_skips(gate, 1))
		return XDP_PASS;
	settings = bpf_map_lookup_elem(MAP(config), &zero);
	window = bpf_map_lookup_elem(MAP(windows), &zero);
	processor = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	if (!settings || !window || !cpu || !gate_takes(gate, settings, 1, &generation))
		return XDP_PASS;
	sample = batch_reserve(cpu, settings, bpf_ktime_get_ns(), 1);
	if (!sample)
		return XDP_PASS;
	packet.segments = 1;
	packet.length = frame_length(xdp);
	packet.loaded = load_xdp(xdp, window, 0, packet.length);
	if (!packet.loaded) {
		batch_abandon(cpu, KERNEL_LOST_UNREADABLE, 1);
		return XDP_PASS;
	}
	packet.l3 = gate->flags & GATE_L3;
	packet.tunnels = settings->tunnels && !(gate->flags & GATE_TUNNEL);
	packet.netdev = settings->tunnels && gate->flags & GATE_TUNNEL;
	sample->meta.generation = generation;
	sample->meta.main = 1;
	sample->key.ifindex = xdp->ingress_ifindex;
	sample->key.direction = DIRECTION_INGRESS;
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	if (parse_packet(window, sample))
		parse_inner(window, load_xdp(xdp, window, window->inner.offset, window->inner.carried), sample);
	else if (window->packet.netdev)
		take_netdev(0, sample);
	batch_append(xdp, cpu, sample, 1);
	return XDP_PASS;
}
