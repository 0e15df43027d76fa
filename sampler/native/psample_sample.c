/* From a psample message to a sample: the interface, where the packet begins, its tunnel. The parser does the rest. */
#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "parser.h"
#include "psample.h"

#define ETHERNET_SIZE 14
#define VLAN_TAGS 8	/* two may be in the frame, beyond the MTU */
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_GRE 47

static const struct psample_link *find_link(const struct psample_view *view, __u32 ifindex)
{
	unsigned int low = 0, high = view->link_count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (view->links[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	return low < view->link_count && view->links[low].ifindex == ifindex ? &view->links[low] : NULL;
}

/*
 * tc names the input interface at ingress, and at egress the output interface, with the input one beside it where the
 * packet was forwarded (tcf_sample_act). Open vSwitch names the input interface alone.
 */
static bool is_egress(const struct psample_view *view, const struct psample_message *message)
{
	return message->egress_ifindex &&
	       (view->direction != PSAMPLE_DIRECTION_INGRESS || !message->ingress_ifindex);
}

/* Of an interface that is not known here, the octets tell: IP where the message says IP, and no Ethernet type does. */
static bool looks_l3(const struct psample_message *message)
{
	const __u8 *data = message->data;

	if (!message->captured || (message->protocol != TYPE_IPV4 && message->protocol != TYPE_IPV6))
		return false;
	if (data[0] >> 4 != (message->protocol == TYPE_IPV4 ? 4 : 6))
		return false;
	return message->captured < ETHERNET_SIZE || (data[12] << 8 | data[13]) != message->protocol;
}

/*
 * Whether the tunnel belongs to the packet as it is on this interface. A packet that came by a tunnel keeps its
 * metadata on its way through this host; Open vSwitch's (`probability`) are those of the port it came by, or is about
 * to leave by.
 */
static bool is_tunnelled(const struct psample_message *message, const struct psample_link *link)
{
	return message->has_tunnel && (!link || link->tunnel_type || message->probability);
}

static __u8 type_of_port(const struct port_tunnels *ports, __be16 port)
{
	__u16 number = ntohs(port);

	return ports[number / 8].type[number % 8] & ~PORT_STT;
}

/* Fills in what the message does not say of its tunnel. false: its kind is not known. */
static bool complete_tunnel(const struct psample_view *view, const struct psample_link *link, struct tunnel_key *tunnel)
{
	if (link && link->tunnel_type) {
		tunnel->type = link->tunnel_type;
		tunnel->key_length = link->key_length;
		tunnel->protocol = link->protocol;
		if (!tunnel->dst_port)
			tunnel->dst_port = htons(link->port);
	} else if (tunnel->dst_port) {
		tunnel->type = type_of_port(view->ports, tunnel->dst_port);
		tunnel->key_length = 3;
		tunnel->protocol = PROTOCOL_UDP;
	} else if (!tunnel->src_port) {
		tunnel->type = TUNNEL_GRE;
		tunnel->key_length = 4;
		tunnel->protocol = PROTOCOL_GRE;
	}
	return tunnel->type && tunnel->ip_version;
}

void psample_describe(const struct psample_view *view, const struct psample_message *message, struct sample *out,
		      struct psample_stats *stats)
{
	struct frame_info info = { .length = message->length, .segments = 1 };
	const struct port_tunnels *ports = view->ports;
	struct tunnel_key tunnel = message->tunnel;
	bool egress = is_egress(view, message), tunnelled;
	__u32 ifindex = egress ? message->egress_ifindex : message->ingress_ifindex;
	const struct psample_link *link = find_link(view, ifindex);

	info.l3 = link ? link->l3 : looks_l3(message);
	tunnelled = view->ports && is_tunnelled(message, link);
	if (tunnelled && !complete_tunnel(view, link, &tunnel)) {
		stats->unknown_tunnel++;
		tunnelled = false;
	}
	/* Of a tunnel in a tunnel the outermost is told: that is this one. */
	if (tunnelled)
		ports = NULL;
	/* psample_decode has seen to it that no more is captured than there is. */
	parse_super_packet(message->data, message->captured, &info, ports, out);
	out->key.ifindex = ifindex;
	out->key.direction = egress ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	out->meta.ingress_ifindex = message->ingress_ifindex;
	out->meta.egress_ifindex = message->egress_ifindex;
	if (tunnelled)
		out->key.tunnel = tunnel;
	stats->super_packets += link && link->mtu &&
				message->length > link->mtu + (link->l3 ? 0 : ETHERNET_SIZE + VLAN_TAGS);
	stats->without_interface += !ifindex;
	stats->cut += message->captured < message->length;
	stats->truncated += !!(out->meta.flags & SAMPLE_TRUNCATED);
	stats->malformed += !!(out->meta.flags & SAMPLE_MALFORMED);
	stats->chain += !!(out->meta.flags & SAMPLE_CHAIN);
	stats->tunnel_missed[out->meta.tunnel_miss]++;
}
