/* What Python's socket module cannot ask of an SCTP socket. Declarations only: read by cc and cffi. */

/* Messages that the policy "timed" has given up on this one-to-one style socket, or -errno. */
long long sctp_abandoned(int fd);
