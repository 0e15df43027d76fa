/* The capabilities of the calling thread, by capset(2) and prctl(2): no libcap for one call. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "caps.h"

int caps_keep(__u64 keep)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3];
	int cap, i;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/*
	 * EINVAL: the kernel knows no capability of that number, nor a higher one. EPERM: without CAP_SETPCAP, as under
	 * the systemd unit, the bounding set stays; nothing can be gained from it after PR_SET_NO_NEW_PRIVS.
	 */
	for (cap = 0; cap < 64; cap++) {
		if (!(keep & ((__u64)1 << cap)) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EPERM)
			return -errno;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -errno;
	if (syscall(SYS_capget, &header, now))
		return -errno;
	memset(data, 0, sizeof(data));
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		/* What the service manager has taken already cannot be kept. */
		data[i].permitted = now[i].permitted & (__u32)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = data[i].permitted;
	}
	if (syscall(SYS_capset, &header, data))
		return -errno;
	return 0;
}
