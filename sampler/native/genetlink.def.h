/* Families of generic netlink. Declarations only: read by cc and cffi. */

/* Numbers that a family has until its module is unloaded. */
struct genetlink_family {
	__u32 id;	/* the type of its messages */
	__u32 group;	/* the multicast group asked for */
};

/*
 * Looks for a family, and one of its multicast groups, in this network namespace, among those that there are: no
 * module is loaded. Returns 0, -ENOENT where one is not there, or -errno.
 */
int genetlink_find(const char *family, const char *group, struct genetlink_family *out);
