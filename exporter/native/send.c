/* Messages to a connected UDP socket, many a system call. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>

#include "send.h"

/* Messages a sendmmsg(2): enough to make the call's own cost small beside theirs. */
#define SEND_BATCH 64

int send_messages(int fd, const __u8 *buffer, const struct message *messages, unsigned int count,
		  unsigned int *sent)
{
	struct mmsghdr headers[SEND_BATCH];
	struct iovec vectors[SEND_BATCH];

	*sent = 0;
	while (*sent < count) {
		unsigned int batch = count - *sent < SEND_BATCH ? count - *sent : SEND_BATCH;
		int done;

		for (unsigned int i = 0; i < batch; i++) {
			const struct message *message = &messages[*sent + i];

			vectors[i] = (struct iovec){ (void *)(buffer + message->offset), message->length };
			headers[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &vectors[i], .msg_iovlen = 1 } };
		}
		do {
			done = sendmmsg(fd, headers, batch, MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (done < 0 && errno == EINTR);
		if (done < 0)
			return -errno;
		*sent += done;
	}
	return 0;
}
