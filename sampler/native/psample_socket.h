/* The socket of a psample source. Used by psample.c. */
#ifndef XDPFIX_PSAMPLE_SOCKET_H
#define XDPFIX_PSAMPLE_SOCKET_H

#include <linux/types.h>

/* A socket that gets the messages of this group in the family's multicast group. The descriptor, or -errno. */
int psample_socket_open(__u32 group, __u32 multicast_group, unsigned int buffer);

/* Makes a netlink socket ready: the buffer's size in octets, and the filter. 0 or -errno. */
int psample_socket_prepare(int fd, __u32 group, unsigned int buffer);

/* Messages that found no room since the socket was made, modulo 2^32. */
__u32 psample_socket_dropped(int fd);

#endif
