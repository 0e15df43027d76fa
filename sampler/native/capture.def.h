/* Captures read into samples. Declarations only: read by cc and cffi. */

struct capture;

/* What was read so far, up to the last sample that was given out. */
struct capture_stats {
	__u64 packets;	/* records of the file that hold a frame */
	__u64 octets;	/* their octets on the wire */
	__u64 sampled;	/* of the packets: taken by the gate, and written to a batch */
	__u64 snapped;	/* sampled, and captured only in part */
	__u64 truncated;	/* sampled, with SAMPLE_TRUNCATED */
	__u64 malformed;	/* sampled, with SAMPLE_MALFORMED */
	__u64 chain;	/* sampled, with SAMPLE_CHAIN */
	__u64 tunnel_missed[8];	/* sampled, by enum tunnel_miss */
	__u64 position;	/* octets of the file behind us; 0 for a pipe */
};

/*
 * Opens a pcap or pcapng file, or standard input for "-". On failure writes one sentence
 * into `error` and returns -errno: the file's own, -EINVAL for what is no capture, and
 * -EPROTONOSUPPORT for a link type that is not read.
 */
int capture_open(struct capture **out, const char *path, char *error, unsigned int error_size);
void capture_close(struct capture *capture);

/*
 * From here on packets are sampled by the gate of the BPF programs, with the values that their
 * maps `config` and `log2_table` hold (the budget is left out); before, all are, under generation 0.
 * 0, or -errno when there are no random numbers.
 */
int capture_set_sampling(struct capture *capture, const struct sampling_config *config, const struct log2_table *table);

/*
 * From here on tunnels are followed: `ports` are the PORT_ENTRIES entries of ports that are tunnels'.
 * 0 or -ENOMEM.
 */
int capture_set_tunnels(struct capture *capture, const struct port_tunnels *ports);

/*
 * Reads frames until `capacity` samples are in `batch`, they span a second, or a pipe is quiet. Time is the
 * capture's, in ns since 1970, kept within the 32 bits of seconds that IPFIX has; ifindex is
 * 0 unless the link type tells it.
 * Returns the samples written, 0 at the end of the capture, -EAGAIN when a pipe holds no
 * whole record yet, -EINTR after many frames without a sample (call again),
 * -ENODATA when the capture ends inside a record, -EBADMSG when it is damaged:
 * capture_error() tells more. Samples read before an error come first.
 */
int capture_read(struct capture *capture, struct sample *batch, unsigned int capacity);
const char *capture_error(const struct capture *capture);
void capture_get_stats(const struct capture *capture, struct capture_stats *out);

/* Descriptor to poll when capture_read returned -EAGAIN; -1 for a file, which never does. */
int capture_fd(const struct capture *capture);

/* Whether it is a file, whose reading ends without anybody's doing. */
int capture_is_file(const struct capture *capture);
