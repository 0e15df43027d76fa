/* The encoder: ended flows to IPFIX Data Sets and messages. Declarations only: read by cc and cffi. */

/* What an operation writes; `offset` is of a field of struct flow. */
enum op_code {
	OP_COPY = 0,	/* `length` bytes as they are */
	OP_UINT8 = 1,	/* a host integer, as `length` bytes big-endian */
	OP_UINT16 = 2,
	OP_UINT32 = 3,
	OP_UINT64 = 4,
	OP_DSCP = 5,	/* high 6 bits of ip_tos */
	OP_PRECEDENCE = 6,	/* high 3 bits of ip_tos */
	OP_VLAN_ID = 7,	/* of the outermost tag */
	OP_VLAN_PRIORITY = 8,
	OP_START_DELTA = 9,	/* us before Export Time */
	OP_END_DELTA = 10,
	OP_START_MILLISECONDS = 11,	/* since 1970 */
	OP_END_MILLISECONDS = 12,
	OP_INGRESS_INTERFACE = 13,	/* ifindex of a packet seen coming in, else 0 */
	OP_EGRESS_INTERFACE = 14,
	OP_TUNNEL_KEY = 15,	/* variable length: a length octet, then the low octets of the key */
	OP_LAYER2_SEGMENT = 16,	/* top octet 1 for VXLAN, then the VNI in the low octets */
};

struct op {
	__u16 code;	/* enum op_code */
	__u16 offset;
	__u32 length;
};

/* How the records of one template are written. */
struct plan {
	const struct op *ops;
	__u32 op_count;
	__u32 record_size;	/* octets, without those of the tunnel key */
	__u16 template_id;
	__u8 ip;	/* the record carries the counters of IP octets */
	__u8 tunnel_key;	/* and the tunnel key */
};

/* A message in the buffer. Its first 16 octets are left to the header. */
struct message {
	__u32 offset;
	__u32 length;	/* header included */
	__u32 domain;
	__u32 records;
};

struct encoder;

/*
 * `kinds` gives for each of the FLOW_KINDS kinds the index of its plan. Plans and
 * their operations are copied. 0 or -ENOMEM, -EINVAL.
 */
int encoder_create(struct encoder **encoder, const struct plan *plans, unsigned int plan_count,
		   const unsigned int *kinds);
void encoder_destroy(struct encoder *encoder);

/*
 * Write `count` flows into messages of at most `message_size` octets, grouped by
 * domain and into sets by template; orders `flows` so. Writes whole messages while
 * `buffer` (of `buffer_size` octets) and `messages` (of `message_limit`) have room.
 * Fractions of counters are carried to the next record of their domain.
 * Returns the number of flows written, the first ones of `flows`, and their messages
 * in `*message_count`; or -EMSGSIZE where a record does not fit a message, -ENOMEM.
 */
int encode_flows(struct encoder *encoder, struct flow **flows, unsigned int count, __u32 export_time,
		 __u32 message_size, __u8 *buffer, __u32 buffer_size, struct message *messages,
		 unsigned int message_limit, unsigned int *message_count);

/*
 * Write the headers (RFC 7011 section 3.1) of messages of one domain. Returns the
 * sequence number behind them.
 */
__u32 encode_headers(__u8 *buffer, const struct message *messages, unsigned int count, __u32 export_time,
		     __u32 sequence);
