/* Messages to a connected UDP socket. Declarations only: read by cc and cffi. */

/*
 * Send messages in order, one datagram each, without blocking. `*sent` is how many
 * went out. 0 when all did, else -errno of the first that did not.
 */
int send_messages(int fd, const __u8 *buffer, const struct message *messages, unsigned int count,
		  unsigned int *sent);
