/*
 * The socket of a psample source. A filter leaves other groups out before they are queued, so what the kernel counts as
 * dropped at the socket are this group's messages, and exactly those that were lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#include "psample_socket.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55	/* Linux 4.12 */
#endif

#define ATTR_SAMPLE_GROUP 3	/* PSAMPLE_ATTR_SAMPLE_GROUP */

/* Lets in what has this group as its attribute. Its place is found by the kernel (SKF_AD_NLATTR). */
static int close_door(int fd, __u32 group)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_IMM, NLMSG_HDRLEN + GENL_HDRLEN),
		BPF_STMT(BPF_LDX | BPF_IMM, ATTR_SAMPLE_GROUP),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_NLATTR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		/* Loads are in network byte order, the attribute is in the host's. */
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, NLA_HDRLEN),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(group), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, ~0U),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

__u32 psample_socket_dropped(int fd)
{
	__u32 info[SK_MEMINFO_VARS] = { 0 };
	socklen_t size = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size))
		return 0;
	return info[SK_MEMINFO_DROPS];
}

int psample_socket_prepare(int fd, __u32 group, unsigned int buffer)
{
	int size = buffer, one = 1;

	/* Beyond net.core.rmem_max where CAP_NET_ADMIN allows it. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)))
		return -errno;
	/* Without, the socket takes nothing from a loss on until it has been read empty. */
	if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one)))
		return -errno;
	return close_door(fd, group);
}

int psample_socket_open(__u32 group, __u32 multicast_group, unsigned int buffer)
{
	int code, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };

	if (fd < 0)
		return -errno;
	code = psample_socket_prepare(fd, group, buffer);
	if (!code && bind(fd, (struct sockaddr *)&address, sizeof(address)))
		code = -errno;
	/* Last: nothing comes before the door is closed. */
	if (!code && setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &multicast_group, sizeof(multicast_group)))
		code = -errno;
	if (!code)
		return fd;
	close(fd);
	return code;
}
