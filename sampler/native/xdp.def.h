/* The XDP programs on network interfaces, as rtnetlink tells them. Declarations only. */

enum xdp_mode {
	XDP_MODE_NONE = 0,
	XDP_MODE_NATIVE = 1,	/* in the driver */
	XDP_MODE_GENERIC = 2,	/* behind the driver */
	XDP_MODE_HARDWARE = 3,	/* on the card alone: no CPU runs it */
};

struct xdp_program {
	__u32 ifindex;
	__u32 id;		/* 0: none */
	__u32 mode;		/* enum xdp_mode */
};

/* A socket to ask by (close-on-exec), in the calling thread's network namespace, or -errno. */
int xdp_open(void);

/*
 * Fills in id and mode of `count` interfaces, whose ifindex is given; none where there is no such interface. Where the
 * card and a CPU each run one, it is the CPU's. The kernel's RTNL lock is waited for. Returns how many have a program, or
 * -errno; after an error nothing is filled in for certain. Of one thread at a time.
 */
int xdp_read(int socket, struct xdp_program *programs, __u32 count);

/*
 * Whether any BPF link was made since the one numbered `*newest` (0: none is known), which then is the newest one's
 * number: 1, 0, or -errno: -EPERM without CAP_SYS_ADMIN. It tells nothing of links that are gone already. A link has its
 * number some time before it is attached.
 */
int xdp_newer_link(__u32 *newest);

/* The name that the kernel keeps of a program, 15 characters and a zero. 0 or -errno: -EPERM without CAP_SYS_ADMIN. */
int xdp_program_name(__u32 id, char *name);
