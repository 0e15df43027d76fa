/*
 * Families of generic netlink, by a dump of all of them: asked for one by its name, the kernel would start modprobe
 * for a module "net-pf-16-proto-16-family-NAME" each time.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "genetlink.h"

#define DUMP_SIZE 32768	/* NLMSG_GOODSIZE is what the kernel fills at most, a page or 8 KiB */

struct request {
	struct nlmsghdr header;
	struct genlmsghdr command;
};

/* A search and what it found in one message. */
struct search {
	const char *family;
	const char *group;
	bool same;	/* the message is the family's */
	__u32 id;
	__u32 group_id;
};

static int next_attr(const char **at, unsigned int *left, struct nlattr *out, const char **payload)
{
	unsigned int step;

	if (*left < NLA_HDRLEN)
		return 0;
	memcpy(out, *at, sizeof(*out));
	if (out->nla_len < NLA_HDRLEN || out->nla_len > *left)
		return 0;
	*payload = *at + NLA_HDRLEN;
	step = NLA_ALIGN((unsigned int)out->nla_len);
	if (step > *left)
		step = *left;
	*at += step;
	*left -= step;
	return 1;
}

static bool is_name(const struct nlattr *attr, const char *payload, const char *name)
{
	size_t length = strlen(name) + 1;

	return attr->nla_len == NLA_HDRLEN + length && !memcmp(payload, name, length);
}

static void read_group(const char *at, unsigned int left, struct search *search)
{
	struct nlattr attr;
	const char *payload;
	bool same = false;
	__u32 id = 0;

	while (next_attr(&at, &left, &attr, &payload)) {
		if (attr.nla_type == CTRL_ATTR_MCAST_GRP_NAME)
			same = is_name(&attr, payload, search->group);
		else if (attr.nla_type == CTRL_ATTR_MCAST_GRP_ID && attr.nla_len == NLA_HDRLEN + sizeof(id))
			memcpy(&id, payload, sizeof(id));
	}
	if (same)
		search->group_id = id;
}

/* Whether the message is of the family and has the group. */
static bool read_family(const char *at, unsigned int left, struct search *search)
{
	struct nlattr attr, inner;
	const char *payload, *item;
	unsigned int rest;
	__u16 id;

	search->same = false;
	search->id = search->group_id = 0;
	while (next_attr(&at, &left, &attr, &payload)) {
		rest = attr.nla_len - NLA_HDRLEN;
		switch (attr.nla_type & NLA_TYPE_MASK) {
		case CTRL_ATTR_FAMILY_NAME:
			search->same = is_name(&attr, payload, search->family);
			break;
		case CTRL_ATTR_FAMILY_ID:
			if (rest == sizeof(id)) {
				memcpy(&id, payload, sizeof(id));
				search->id = id;
			}
			break;
		case CTRL_ATTR_MCAST_GROUPS:
			while (next_attr(&payload, &rest, &inner, &item))
				read_group(item, inner.nla_len - NLA_HDRLEN, search);
			break;
		}
	}
	return search->same && search->id && search->group_id;
}

/* Reads the dump to its end, for the next request finds what is left of it. 1: found; 0; or -errno. */
static int read_dump(int fd, struct search *search, struct genetlink_family *out)
{
	char buffer[DUMP_SIZE] __attribute__((aligned(4)));
	int found = 0;

	for (;;) {
		ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
		unsigned int left;

		if (size < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		for (left = size; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
			if (header->nlmsg_type == NLMSG_DONE)
				return found;
			if (header->nlmsg_type == NLMSG_ERROR)
				return -EPROTO;
			if (header->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
				continue;
			if (read_family((const char *)NLMSG_DATA(header) + GENL_HDRLEN,
					header->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), search)) {
				out->id = search->id;
				out->group = search->group_id;
				found = 1;
			}
		}
	}
}

int genetlink_find(const char *family, const char *group, struct genetlink_family *out)
{
	struct request request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = GENL_ID_CTRL,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.command = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 },
	};
	struct search search = { .family = family, .group = group };
	struct genetlink_family found;
	int code, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof(request), 0) < 0)
		code = -errno;
	else
		code = read_dump(fd, &search, &found);
	close(fd);
	if (code < 0)
		return code;
	if (!code)
		return -ENOENT;
	*out = found;
	return 0;
}
