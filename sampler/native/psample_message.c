/* Messages of the kernel's psample family (include/uapi/linux/psample.h), attribute by attribute. */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "psample_message.h"

/*
 * Attributes by number, for distributions' headers are older than their kernels: TUNNEL came with Linux 5.7, TIMESTAMP
 * and PROTO with 5.13, USER_COOKIE and SAMPLE_PROBABILITY with 6.11 (commit 7b1b2b60c63f).
 */
enum attribute {
	ATTR_IIFINDEX = 0,
	ATTR_OIFINDEX = 1,
	ATTR_ORIGSIZE = 2,
	ATTR_SAMPLE_GROUP = 3,
	ATTR_GROUP_SEQ = 4,
	ATTR_SAMPLE_RATE = 5,
	ATTR_DATA = 6,
	ATTR_TUNNEL = 8,
	ATTR_TIMESTAMP = 13,
	ATTR_PROTO = 14,
	ATTR_USER_COOKIE = 15,
	ATTR_SAMPLE_PROBABILITY = 16,
};

enum tunnel_attribute {
	TUNNEL_ID = 0,
	TUNNEL_IPV4_SRC = 1,
	TUNNEL_IPV4_DST = 2,
	TUNNEL_TP_SRC = 9,
	TUNNEL_TP_DST = 10,
	TUNNEL_IPV6_SRC = 12,
	TUNNEL_IPV6_DST = 13,
};

#define COMMAND_SAMPLE 0	/* PSAMPLE_CMD_SAMPLE */
#define HEADER_SIZE (NLMSG_HDRLEN + GENL_HDRLEN)

/* One attribute: its header is aligned in the message, what is behind it may end anywhere. */
struct attr {
	__u16 type;
	__u16 length;	/* of the payload */
	const __u8 *payload;
};

/* Takes the next attribute of `*left` octets at `*at`. Returns 1, 0 at the end, or -EBADMSG. */
static int next_attr(const __u8 **at, __u32 *left, struct attr *out)
{
	struct nlattr header;
	__u32 step;

	if (*left < sizeof(header))
		return 0;
	memcpy(&header, *at, sizeof(header));
	if (header.nla_len < sizeof(header) || header.nla_len > *left)
		return -EBADMSG;
	out->type = header.nla_type & NLA_TYPE_MASK;
	out->length = header.nla_len - sizeof(header);
	out->payload = *at + sizeof(header);
	step = NLA_ALIGN(header.nla_len);
	if (step > *left)
		step = *left;
	*at += step;
	*left -= step;
	return 1;
}

/* Copies the payload where it has this size. */
static bool read_exactly(const struct attr *attr, void *out, __u32 size)
{
	if (attr->length != size)
		return false;
	memcpy(out, attr->payload, size);
	return true;
}

/* Interface numbers have 16 bits up to now. */
static bool read_ifindex(const struct attr *attr, __u32 *out)
{
	__u16 narrow;

	if (read_exactly(attr, &narrow, sizeof(narrow))) {
		*out = narrow;
		return true;
	}
	return read_exactly(attr, out, sizeof(*out));
}

static bool read_address(const struct attr *attr, struct tunnel_key *tunnel, __u8 *out, __u8 version)
{
	tunnel->ip_version = version;
	return read_exactly(attr, out, version == 4 ? 4 : 16);
}

static bool read_tunnel_attr(const struct attr *attr, struct tunnel_key *tunnel)
{
	switch (attr->type) {
	case TUNNEL_ID:
		return read_exactly(attr, &tunnel->key, sizeof(tunnel->key));
	case TUNNEL_IPV4_SRC:
		return read_address(attr, tunnel, tunnel->src_addr, 4);
	case TUNNEL_IPV4_DST:
		return read_address(attr, tunnel, tunnel->dst_addr, 4);
	case TUNNEL_IPV6_SRC:
		return read_address(attr, tunnel, tunnel->src_addr, 6);
	case TUNNEL_IPV6_DST:
		return read_address(attr, tunnel, tunnel->dst_addr, 6);
	case TUNNEL_TP_SRC:
		return read_exactly(attr, &tunnel->src_port, sizeof(tunnel->src_port));
	case TUNNEL_TP_DST:
		return read_exactly(attr, &tunnel->dst_port, sizeof(tunnel->dst_port));
	default:
		return true;
	}
}

static bool read_tunnel(const struct attr *attr, struct psample_message *out)
{
	const __u8 *at = attr->payload;
	__u32 left = attr->length;
	struct attr inner;
	int code;

	out->has_tunnel = true;
	while ((code = next_attr(&at, &left, &inner)) > 0)
		if (!read_tunnel_attr(&inner, &out->tunnel))
			return false;
	return !code;
}

static bool read_attr(const struct attr *attr, struct psample_message *out)
{
	switch (attr->type) {
	case ATTR_IIFINDEX:
		return read_ifindex(attr, &out->ingress_ifindex);
	case ATTR_OIFINDEX:
		return read_ifindex(attr, &out->egress_ifindex);
	case ATTR_ORIGSIZE:
		return read_exactly(attr, &out->length, sizeof(out->length));
	case ATTR_SAMPLE_GROUP:
		out->has_group = true;
		return read_exactly(attr, &out->group, sizeof(out->group));
	case ATTR_GROUP_SEQ:
		out->has_sequence = true;
		return read_exactly(attr, &out->sequence, sizeof(out->sequence));
	case ATTR_SAMPLE_RATE:
		return read_exactly(attr, &out->rate, sizeof(out->rate));
	case ATTR_DATA:
		out->data = attr->payload;
		out->captured = attr->length;
		return true;
	case ATTR_TUNNEL:
		return read_tunnel(attr, out);
	case ATTR_TIMESTAMP:
		return read_exactly(attr, &out->timestamp, sizeof(out->timestamp));
	case ATTR_PROTO:
		return read_exactly(attr, &out->protocol, sizeof(out->protocol));
	case ATTR_USER_COOKIE:
		out->cookie = attr->payload;
		out->cookie_length = attr->length;
		return true;
	case ATTR_SAMPLE_PROBABILITY:
		out->probability = true;
		return true;
	default:
		return true;
	}
}

/*
 * Linux 6.11 to 6.12.6 leaves the mark of a probability out where the message has no room for it (mended by commit
 * "psample: adjust size if rate_as_probability is set"): of every packet of such a length. Taken for a rate, all
 * packets would count as four thousand million each. Open vSwitch's samples show: they are not numbered, have domain
 * and point as their cookie, and P is 1 to 65535 times 65537. tc's have no such rate and number at once, but for the
 * first of a group.
 */
static bool lacks_mark(const struct psample_message *message)
{
	return !message->sequence && message->cookie_length == PSAMPLE_COOKIE && !(message->rate % 65537);
}

int psample_decode(const void *octets, __u32 length, struct psample_message *out)
{
	struct psample_message message = { .data = NULL };
	const __u8 *at = octets;
	struct genlmsghdr command;
	struct nlmsghdr header;
	struct attr attr;
	__u32 left;
	int code;

	if (length < HEADER_SIZE)
		return -ENOMSG;
	memcpy(&header, octets, sizeof(header));
	memcpy(&command, at + NLMSG_HDRLEN, sizeof(command));
	if (header.nlmsg_type < NLMSG_MIN_TYPE || command.cmd != COMMAND_SAMPLE)
		return -ENOMSG;
	if (header.nlmsg_len < HEADER_SIZE || header.nlmsg_len > length)
		return -EBADMSG;
	at += HEADER_SIZE;
	left = header.nlmsg_len - HEADER_SIZE;
	while ((code = next_attr(&at, &left, &attr)) > 0)
		if (!read_attr(&attr, &message))
			return -EBADMSG;
	if (code < 0)
		return code;
	if (!message.length)
		message.length = message.captured;
	if (!message.has_group || !message.rate || message.captured > message.length)
		return -EBADMSG;
	message.probability |= lacks_mark(&message);
	*out = message;
	return 0;
}
