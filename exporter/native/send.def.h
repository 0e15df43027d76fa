/* Messages to a connected UDP socket. Declarations only: read by cc and cffi. */

/* What went out. */
struct sent {
	unsigned int messages;
	unsigned int records;	/* in these */
};

/*
 * Send messages in order, one datagram each on the wire, without blocking. 0 when all
 * went out, else -errno of the first that did not.
 */
int send_messages(int fd, const __u8 *buffer, const struct message *messages, unsigned int count,
		  struct sent *sent);
