/*
 * The XDP programs on network interfaces, asked for by rtnetlink in C: the kernel tells of no program that a BPF link
 * attaches, so interfaces are asked. Each costs 3 to 7 us; a dump of all links costs less an interface, but for every one
 * that there is, sampled or not. Whether there is a new BPF link at all is one short system call, for who may ask.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xdp.h"

/*
 * Interfaces in one message. Each answer takes some 4 KiB of the socket's receive buffer, which holds 208 KiB where
 * nobody has changed net.core.rmem_default.
 */
#define BATCH 16
/* What an answer says up to IFLA_XDP; the rest may be cut. */
#define ANSWER_SIZE 2048

struct question {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct rtattr mask_attribute;
	__u32 mask;
};

int xdp_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

/* What a message of this size says in IFLA_XDP. An interface without it has none. */
static void read_link(const struct nlmsghdr *header, __u32 size, struct xdp_program *program)
{
	const struct rtattr *attribute = IFLA_RTA(NLMSG_DATA(header)), *inner;
	int left = (int)size - (int)NLMSG_SPACE(sizeof(struct ifinfomsg)), inner_left;
	__u32 ids[XDP_MODE_HARDWARE + 1] = {0};
	__u32 mode;

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if ((attribute->rta_type & NLA_TYPE_MASK) != IFLA_XDP)
			continue;
		inner_left = (int)RTA_PAYLOAD(attribute);
		for (inner = RTA_DATA(attribute); RTA_OK(inner, inner_left); inner = RTA_NEXT(inner, inner_left)) {
			if (RTA_PAYLOAD(inner) < sizeof(__u32))
				continue;
			switch (inner->rta_type & NLA_TYPE_MASK) {
			case IFLA_XDP_DRV_PROG_ID:
				memcpy(&ids[XDP_MODE_NATIVE], RTA_DATA(inner), sizeof(__u32));
				break;
			case IFLA_XDP_SKB_PROG_ID:
				memcpy(&ids[XDP_MODE_GENERIC], RTA_DATA(inner), sizeof(__u32));
				break;
			case IFLA_XDP_HW_PROG_ID:
				memcpy(&ids[XDP_MODE_HARDWARE], RTA_DATA(inner), sizeof(__u32));
				break;
			}
		}
	}
	for (mode = XDP_MODE_NATIVE; mode <= XDP_MODE_HARDWARE; mode++) {
		if (ids[mode]) {
			program->id = ids[mode];
			program->mode = mode;
			return;
		}
	}
}

static int ask(int socket, const struct xdp_program *programs, __u32 count, __u32 first)
{
	struct question questions[BATCH];
	__u32 i;

	memset(questions, 0, sizeof(questions));
	for (i = 0; i < count; i++) {
		struct question *question = &questions[i];

		question->header.nlmsg_len = sizeof(*question);
		question->header.nlmsg_type = RTM_GETLINK;
		question->header.nlmsg_flags = NLM_F_REQUEST;
		question->header.nlmsg_seq = first + i;
		question->link.ifi_index = (int)programs[i].ifindex;
		question->mask_attribute.rta_type = IFLA_EXT_MASK;
		question->mask_attribute.rta_len = RTA_LENGTH(sizeof(__u32));
		question->mask = RTEXT_FILTER_SKIP_STATS;
	}
	/* The kernel answers before this returns. */
	return send(socket, questions, count * sizeof(questions[0]), 0) < 0 ? -errno : 0;
}

/* Takes the answers to the questions numbered from `first` on. One that is not there was lost. */
static int take(int socket, struct xdp_program *programs, __u32 count, __u32 first)
{
	char answers[BATCH][ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct mmsghdr messages[BATCH];
	struct iovec places[BATCH];
	__u32 taken = 0;
	int received, i;

	memset(messages, 0, sizeof(messages));
	for (i = 0; i < BATCH; i++) {
		places[i].iov_base = answers[i];
		places[i].iov_len = ANSWER_SIZE;
		messages[i].msg_hdr.msg_iov = &places[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (taken < count) {
		received = recvmmsg(socket, messages, count - taken, MSG_DONTWAIT, NULL);
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0)
			return errno == EAGAIN ? -ENOBUFS : -errno;
		/* An answer is a datagram. */
		for (i = 0; i < received; i++) {
			const struct nlmsghdr *header = (const struct nlmsghdr *)answers[i];
			const struct nlmsgerr *error = NLMSG_DATA(header);
			__u32 place = header->nlmsg_seq - first;

			/* Answers that an error left behind have other numbers. */
			if (messages[i].msg_len < NLMSG_SPACE(sizeof(*error)) || place >= count)
				continue;
			taken++;
			if (header->nlmsg_type == RTM_NEWLINK)
				read_link(header, messages[i].msg_len, &programs[place]);
			else if (header->nlmsg_type == NLMSG_ERROR && error->error != -ENODEV)
				return error->error;
		}
	}
	return 0;
}

int xdp_read(int socket, struct xdp_program *programs, __u32 count)
{
	/* Of one thread at a time; no number twice, so that no answer is taken for another's. */
	static __u32 number;
	__u32 done, now, i;
	int error, found = 0;

	for (i = 0; i < count; i++) {
		programs[i].id = 0;
		programs[i].mode = XDP_MODE_NONE;
	}
	for (done = 0; done < count; done += now) {
		now = count - done < BATCH ? count - done : BATCH;
		error = ask(socket, programs + done, now, number);
		if (!error)
			error = take(socket, programs + done, now, number);
		number += now;
		if (error)
			return error;
	}
	for (i = 0; i < count; i++)
		found += programs[i].id != 0;
	return found;
}

int xdp_newer_link(__u32 *newest)
{
	__u32 before = *newest;

	/* The kernel gives numbers in their order, and begins anew behind 2^31. */
	while (!bpf_link_get_next_id(*newest, newest))
		;
	return errno == ENOENT ? *newest != before : -errno;
}

int xdp_program_name(__u32 id, char *name)
{
	struct bpf_prog_info info;
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	int error;

	if (fd < 0)
		return -errno;
	memset(&info, 0, sizeof(info));
	error = bpf_obj_get_info_by_fd(fd, &info, &size) ? -errno : 0;
	close(fd);
	if (!error)
		memcpy(name, info.name, sizeof(info.name));
	return error;
}
