/*
 * The programs. A packet passes the gate, and only if it is taken is it loaded, parsed
 * and appended to this CPU's batch. Whatever happens, it is passed on.
 */
#include "compat.h"
#include "maps.h"
#include "load.h"
#include "parse.h"
#include "route.h"
#include "segments.h"
#include "taken.h"
#include "tunnel_netdev.h"

#if !defined(SAMPLER_BCC)
const char sampler_license[] SEC("license") = "GPL";
#endif

static __always_inline void sample_skb(struct __sk_buff *skb, __u32 direction)
{
	__u32 slot;
	struct gate *gate = find_gate(skb->ifindex, direction, &slot);
	struct packet packet = {};
	struct sample *sample;
	struct window *window;
	struct taken taken;
	bool carries;

	if (!gate)
		return;
	packet.segments = skb_segments(skb, gate->flags & GATE_L3);
	if (!take(gate, slot, packet.segments, &taken) || !admit(&taken, packet.segments))
		return;
	window = taken.window;
	sample = batch_slot(taken.cpu);
	sample_begin(sample, &taken, skb->ifindex, direction);
	packet_begin(&packet, &taken);
	packet.length = skb->len;
	packet.loaded = load_skb(skb, window, 0, packet.length);
	if (!packet.loaded) {
		batch_abandon(taken.cpu, KERNEL_LOST_UNREADABLE, packet.segments);
		return;
	}
	packet.segment_size = packet.segments > 1 ? skb->gso_size : 0;
	packet.protocol = skb->protocol;
	packet.vlan_present = skb->vlan_present;
	packet.vlan_tci = packet.vlan_present ? BE16(skb->vlan_tci) : 0;
	if (direction == DIRECTION_EGRESS)
		sample->meta.ingress_ifindex = skb->ingress_ifindex;
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	carries = parse_packet(window, sample);
	/* What is addressed to another station is bridged, if anything. */
	if (direction == DIRECTION_INGRESS)
		route_ask(window, &sample->key, taken.settings->routes && skb->pkt_type == PACKET_HOST);
	if (carries) {
		parse_inner(window, load_skb(skb, window, window->inner.offset, window->inner.carried), sample);
		if (direction == DIRECTION_INGRESS)
			mark_ipsec(skb, &sample->key.tunnel);
	} else if (window->packet.netdev) {
		take_netdev(skb, sample);
	}
	if (!select_rules(taken.place, &taken.cpu->random, sample)) {
		batch_abandon(taken.cpu, KERNEL_UNSELECTED, packet.segments);
		return;
	}
	if (direction == DIRECTION_INGRESS)
		sample->meta.egress_ifindex = route_find(skb, window);
	batch_append(skb, taken.cpu, sample, packet.segments);
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

static __always_inline void sample_frame(struct xdp_md *xdp)
{
	__u32 slot;
	struct gate *gate = find_gate(xdp->ingress_ifindex, DIRECTION_INGRESS, &slot);
	struct packet packet = {};
	struct sample *sample;
	struct window *window;
	struct taken taken;
	bool carries;

	if (!gate || !take(gate, slot, 1, &taken) || !admit(&taken, 1))
		return;
	window = taken.window;
	sample = batch_slot(taken.cpu);
	sample_begin(sample, &taken, xdp->ingress_ifindex, DIRECTION_INGRESS);
	packet_begin(&packet, &taken);
	packet.segments = 1;
	packet.length = frame_length(xdp);
	packet.loaded = load_xdp(xdp, window, 0, packet.length);
	if (!packet.loaded) {
		batch_abandon(taken.cpu, KERNEL_LOST_UNREADABLE, 1);
		return;
	}
	window->packet = packet;
	__asm__ volatile("" ::: "memory");
	carries = parse_packet(window, sample);
	route_ask(window, &sample->key, taken.settings->routes);
	if (carries)
		parse_inner(window, load_xdp(xdp, window, window->inner.offset, window->inner.carried), sample);
	else if (window->packet.netdev)
		take_netdev(0, sample);
	if (!select_rules(taken.place, &taken.cpu->random, sample)) {
		batch_abandon(taken.cpu, KERNEL_UNSELECTED, 1);
		return;
	}
	sample->meta.egress_ifindex = route_find(xdp, window);
	batch_append(xdp, taken.cpu, sample, 1);
}

SEC("xdp")
int sample_xdp(struct xdp_md *xdp)
{
	sample_frame(xdp);
	return XDP_PASS;
}
