/* Messages to a connected UDP socket, many a system call, and runs of one size as one datagram that the kernel cuts. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "send.h"

/* Datagrams a sendmmsg(2): enough to make the call's own cost small beside theirs. */
#define SEND_BATCH 64

/*
 * UDP_SEGMENT (Linux 4.18): one datagram of up to 64 segments of one size, the last of
 * which may be shorter, goes through the stack once and is cut where the device wants
 * it. Its octets fit any header of IP.
 */
#define SEND_SEGMENTS 64
#define SEND_OCTETS (65535 - 8 - 60)

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103	/* <linux/udp.h> */
#endif

struct control {
	_Alignas(struct cmsghdr) char octets[CMSG_SPACE(sizeof(__u16))];
};

/* How many messages from the first one on can go as one datagram, and their octets. */
static unsigned int segments(const struct message *messages, unsigned int count, __u32 *octets)
{
	unsigned int n = 1;

	*octets = messages[0].length;
	while (n < count && n < SEND_SEGMENTS && messages[n - 1].length == messages[0].length &&
	       messages[n].length <= messages[0].length && *octets + messages[n].length <= SEND_OCTETS &&
	       messages[n].offset == messages[n - 1].offset + messages[n - 1].length)
		*octets += messages[n++].length;
	return n;
}

static void set_size(struct msghdr *header, struct control *control, __u16 size)
{
	struct cmsghdr *message;

	header->msg_control = control->octets;
	header->msg_controllen = sizeof(control->octets);
	message = CMSG_FIRSTHDR(header);
	message->cmsg_level = IPPROTO_UDP;
	message->cmsg_type = UDP_SEGMENT;
	message->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(message), &size, sizeof(size));
}

/* One system call. `whole`: no datagrams to be cut. Returns how many messages went out, or -errno. */
static int send_some(int fd, const __u8 *buffer, const struct message *messages, unsigned int count, int whole)
{
	struct mmsghdr headers[SEND_BATCH];
	struct control controls[SEND_BATCH];
	struct iovec vectors[SEND_BATCH];
	unsigned int sizes[SEND_BATCH], datagrams = 0, at = 0, sent = 0;
	int done;

	for (; datagrams < SEND_BATCH && at < count; at += sizes[datagrams++]) {
		__u32 octets = messages[at].length;

		sizes[datagrams] = whole ? 1 : segments(messages + at, count - at, &octets);
		vectors[datagrams] = (struct iovec){ (void *)(buffer + messages[at].offset), octets };
		headers[datagrams] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &vectors[datagrams], .msg_iovlen = 1 } };
		if (sizes[datagrams] > 1)
			set_size(&headers[datagrams].msg_hdr, &controls[datagrams], messages[at].length);
	}
	do {
		done = sendmmsg(fd, headers, datagrams, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	if (done < 0)
		return -errno;
	for (int i = 0; i < done; i++)
		sent += sizes[i];
	return sent;
}

/* Errors that a message by itself may not meet: no such option, a device or a policy that does not cut, a short path. */
static int is_of_segments(int error)
{
	return error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP || error == ENOPROTOOPT;
}

int send_messages(int fd, const __u8 *buffer, const struct message *messages, unsigned int count,
		  struct sent *sent)
{
	int whole = 0;

	*sent = (struct sent){ 0 };
	while (sent->messages < count) {
		int done = send_some(fd, buffer, messages + sent->messages, count - sent->messages, whole);

		if (done < 0 && !whole && is_of_segments(-done)) {
			whole = 1;
			continue;
		}
		if (done < 0)
			return done;
		for (; done; done--)
			sent->records += messages[sent->messages++].records;
	}
	return 0;
}
