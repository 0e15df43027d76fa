/* BPF links: a program on a network interface, for as long as the link's descriptor is open. Declarations only. */

enum link_place {
	LINK_XDP_NATIVE = 0,	/* in the driver, ingress */
	LINK_XDP_GENERIC = 1,	/* behind the driver, any interface, ingress */
	LINK_TCX_INGRESS = 2,	/* before all other tcx programs and clsact */
	LINK_TCX_EGRESS = 3,
};

/*
 * Attaches the program `program_fd` to the interface. Returns the link's
 * descriptor (close-on-exec), or -errno: -EINVAL where this kernel lacks the kind of
 * link, -EOPNOTSUPP where the driver lacks XDP, -EBUSY where another XDP
 * program sits, -ENODEV where the interface is gone.
 */
int link_create(int program_fd, __u32 ifindex, enum link_place place);
