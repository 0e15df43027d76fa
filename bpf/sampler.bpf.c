/*
 * The programs. A packet passes the gate, and only if it is taken is it loaded, parsed
 * and appended to this CPU's batch. Whatever happens, it is passed on.
 */
#include "compat.h"
#include "maps.h"
#include "gates.h"
#include "load.h"
#include "parse.h"
#include "route.h"
#include "batch.h"
#include "segments.h"
#include "select.h"
#include "tunnel_netdev.h"

#if !defined(SAMPLER_BCC)
const char sampler_license[] SEC("license") = "GPL";
#endif

static __always_inline void sample_skb(struct __sk_buff *skb, __u32 direction)
{
	__u32 processor, place, selection, slot, zero = 0;
	struct gate *gate = find_gate(skb->ifindex, direction, &slot);
	const struct sampling_config *settings;
	const struct gate_rules *rules;
	struct selectors by;
	struct packet packet = {};
	struct cpu_state *cpu;
	struct window *window;
	struct sample *sample;
	bool carries;

	if (!gate)
		return;
	selection = selection_number();
	packet.segments = skb_segments(skb, gate->flags & GATE_L3);
	if (gate_is_of(gate, selection) && gate_skips(gate, packet.segments))
		return;
	place = selection % SELECTIONS;
	settings = bpf_map_lookup_elem(MAP(config), &place);
	slot += place * GATE_SLOTS;
	rules = bpf_map_lookup_elem(MAP(gate_rules), &slot);
	window = bpf_map_lookup_elem(MAP(windows), &zero);
	processor = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	if (!settings || !rules || !window || !cpu || !gate_takes(gate, selection, settings, packet.segments))
		return;
	if (!select_gate(settings, rules, &by)) {
		batch_pass(cpu, packet.segments);
		return;
	}
	sample = batch_reserve(cpu, settings, &by, bpf_ktime_get_ns(), packet.segments);
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
	sample->key.ifindex = skb->ifindex;
	sample->key.direction = direction;
	sample->meta.ingress_ifindex = direction == DIRECTION_INGRESS ? skb->ifindex : skb->ingress_ifindex;
	if (direction == DIRECTION_EGRESS)
		sample->meta.egress_ifindex = skb->ifindex;
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	carries = parse_packet(window, sample);
	/* What is addressed to another station is bridged, if anything. */
	if (direction == DIRECTION_INGRESS)
		route_ask(window, &sample->key, settings->routes && skb->pkt_type == PACKET_HOST);
	if (carries) {
		parse_inner(window, load_skb(skb, window, window->inner.offset, window->inner.carried), sample);
		if (direction == DIRECTION_INGRESS)
			mark_ipsec(skb, &sample->key.tunnel);
	} else if (window->packet.netdev) {
		take_netdev(skb, sample);
	}
	if (!select_rules(place, sample)) {
		batch_abandon(cpu, KERNEL_UNSELECTED, packet.segments);
		return;
	}
	if (direction == DIRECTION_INGRESS)
		sample->meta.egress_ifindex = route_find(skb, window);
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
	__u32 processor, place, selection, slot, zero = 0;
	struct gate *gate = find_gate(xdp->ingress_ifindex, DIRECTION_INGRESS, &slot);
	const struct sampling_config *settings;
	const struct gate_rules *rules;
	struct selectors by;
	struct packet packet = {};
	struct cpu_state *cpu;
	struct window *window;
	struct sample *sample;
	bool carries;

	if (!gate)
		return XDP_PASS;
	selection = selection_number();
	if (gate_is_of(gate, selection) && gate_skips(gate, 1))
		return XDP_PASS;
	place = selection % SELECTIONS;
	settings = bpf_map_lookup_elem(MAP(config), &place);
	slot += place * GATE_SLOTS;
	rules = bpf_map_lookup_elem(MAP(gate_rules), &slot);
	window = bpf_map_lookup_elem(MAP(windows), &zero);
	processor = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(MAP(cpus), &processor);
	if (!settings || !rules || !window || !cpu || !gate_takes(gate, selection, settings, 1))
		return XDP_PASS;
	if (!select_gate(settings, rules, &by)) {
		batch_pass(cpu, 1);
		return XDP_PASS;
	}
	sample = batch_reserve(cpu, settings, &by, bpf_ktime_get_ns(), 1);
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
	sample->key.ifindex = xdp->ingress_ifindex;
	sample->key.direction = DIRECTION_INGRESS;
	sample->meta.ingress_ifindex = xdp->ingress_ifindex;
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	carries = parse_packet(window, sample);
	route_ask(window, &sample->key, settings->routes);
	if (carries)
		parse_inner(window, load_xdp(xdp, window, window->inner.offset, window->inner.carried), sample);
	else if (window->packet.netdev)
		take_netdev(0, sample);
	if (!select_rules(place, sample)) {
		batch_abandon(cpu, KERNEL_UNSELECTED, 1);
		return XDP_PASS;
	}
	sample->meta.egress_ifindex = route_find(xdp, window);
	batch_append(xdp, cpu, sample, 1);
	return XDP_PASS;
}
