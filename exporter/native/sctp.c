/* A socket option of SCTP that is told something when it is read. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <linux/sctp.h>

#include "sctp.h"

long long sctp_abandoned(int fd)
{
	struct sctp_prstatus status = { .sprstat_policy = SCTP_PR_SCTP_TTL };
	socklen_t size = sizeof(status);

	if (getsockopt(fd, IPPROTO_SCTP, SCTP_PR_ASSOC_STATUS, &status, &size))
		return -errno;
	return status.sprstat_abandoned_unsent + status.sprstat_abandoned_sent;
}
