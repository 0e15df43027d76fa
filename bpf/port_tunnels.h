/* Which destination ports are tunnels': a map that user space keeps, or for user space itself a table in its window. */
#ifndef XDPFIX_PORT_TUNNELS_H
#define XDPFIX_PORT_TUNNELS_H

#include "cursor.h"
#if SAMPLER_KERNEL
#include "maps.h"
#endif

/* What struct port_tunnels says of a port. */
static __always_inline __u8 port_tunnel(const struct window *window, __u16 port)
{
#if SAMPLER_KERNEL
	__u32 entry = port / 8;
	const struct port_tunnels *ports = bpf_map_lookup_elem(MAP(port_tunnels), &entry);

	(void)window;
	return ports ? ports->type[port & 7] : 0;
#else
	return window->ports ? window->ports[port / 8].type[port & 7] : 0;
#endif
}

#endif
