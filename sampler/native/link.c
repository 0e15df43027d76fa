/* BPF links to network interfaces, by bpf(2) itself: libbpf knows tcx only since 1.3. */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link.h"

/* Numbers of kernel commit e420bed02507 (6.6), "bpf: Add fd-based tcx multi-prog infra with link support". */
#define TCX_INGRESS 46
#define TCX_EGRESS 47
#define PLACE_BEFORE (1U << 3) /* BPF_F_BEFORE; without a relative program: first of all */

/* union bpf_attr.link_create as of the same commit; all before `relative_fd` is as old as BPF links (5.7). */
struct link_create_attr {
	__u32 program_fd;
	__u32 target_ifindex;
	__u32 attach_type;
	__u32 flags;
	__u32 relative_fd;
	__u32 padding;
	__u64 expected_revision;
};

int link_create(int program_fd, __u32 ifindex, enum link_place place)
{
	struct link_create_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.program_fd = (__u32)program_fd;
	attr.target_ifindex = ifindex;
	switch (place) {
	case LINK_XDP_NATIVE:
		attr.attach_type = BPF_XDP;
		attr.flags = XDP_FLAGS_DRV_MODE;
		break;
	case LINK_XDP_GENERIC:
		attr.attach_type = BPF_XDP;
		attr.flags = XDP_FLAGS_SKB_MODE;
		break;
	case LINK_TCX_INGRESS:
		attr.attach_type = TCX_INGRESS;
		attr.flags = PLACE_BEFORE;
		break;
	case LINK_TCX_EGRESS:
		attr.attach_type = TCX_EGRESS;
		attr.flags = PLACE_BEFORE;
		break;
	default:
		return -EINVAL;
	}
	fd = (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}
