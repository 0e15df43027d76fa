/* The slice of the calling thread, by sched_setattr(2): the C library has no function for it before glibc 2.41. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "slice.h"

/* struct sched_attr of Linux 3.14 (SCHED_ATTR_SIZE_VER0), not in uapi headers that sched.h does not collide with. */
struct attributes {
	__u32 size;
	__u32 policy;
	__u64 flags;
	__s32 nice;
	__u32 priority;
	__u64 runtime;	/* of SCHED_OTHER: the slice, since commit 857b158dc5e8 (6.12) */
	__u64 deadline;
	__u64 period;
};

static int get(struct attributes *attributes)
{
	memset(attributes, 0, sizeof(*attributes));
	return syscall(SYS_sched_getattr, 0, attributes, sizeof(*attributes), 0) ? -errno : 0;
}

int slice_set(__u64 ns)
{
	struct attributes attributes;
	int err = get(&attributes);

	if (err)
		return err;
	attributes.runtime = ns;
	return syscall(SYS_sched_setattr, 0, &attributes, 0) ? -errno : 0;
}

__s64 slice_get(void)
{
	struct attributes attributes;
	int err = get(&attributes);

	return err ? err : (__s64)attributes.runtime;
}
