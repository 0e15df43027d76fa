/* The encoder: ended flows to IPFIX Data Sets and messages. Declarations only: read by cc and cffi. */

/* What an operation writes; `offset` is of a field of struct flow unless it says otherwise. */
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
	OP_CUSTOMER_VLAN_ID = 9,	/* of the tag behind it */
	OP_CUSTOMER_VLAN_PRIORITY = 10,
	OP_START_DELTA = 11,	/* us before Export Time */
	OP_END_DELTA = 12,
	OP_START_MILLISECONDS = 13,	/* since 1970 */
	OP_END_MILLISECONDS = 14,
	OP_INGRESS_INTERFACE = 15,	/* ifindex where it came in; 0: not known */
	OP_EGRESS_INTERFACE = 16,
	OP_FRAGMENT_FLAGS = 17,	/* bits of fragmentFlags (197) */
	OP_ICMP_TYPE_CODE = 18,	/* type * 256 + code */
	OP_FLAG_COUNT = 19,	/* packets with the TCP flag whose bit is number `offset` */
	OP_LAYER2_SEGMENT = 20,	/* top octet 1 for VXLAN, then the VNI in the low octets */
	/* Those from here on are in few records. */
	OP_TUNNEL_KEY = 21,	/* variable length: a length octet, then the low octets of the key */
	OP_FORWARDING_STATUS = 22,	/* forwardingStatus (89) of the verdict */
	OP_DROPPED_PACKETS = 23,
	OP_DROPPED_OCTETS = 24,	/* of IP */
	OP_CONSTANT = 25,	/* `length` bytes of the encoder's constant, from `offset` */
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
	__u8 flags;	/* the counts of TCP flags */
	__u8 verdict;	/* what was dropped */
	__u8 tunnel_key;	/* and the tunnel key */
};

/* A message in the buffer. Its first 16 octets are left to the header. */
struct message {
	__u32 offset;
	__u32 length;	/* header included */
	__u32 domain;
	__u32 records;
};

/* Messages of one domain that follow one another. */
struct message_run {
	__u32 domain;
	__u32 messages;
	__u64 records;
	__u64 octets;
};

/* A template that records of a domain were written by. */
struct template_use {
	__u32 domain;
	__u16 template_id;
	__u16 reserved;
};

struct encoder;

/*
 * `kinds` gives for each of the FLOW_KINDS kinds the index of its plan. Plans, their
 * operations and the constant are copied. 0 or -ENOMEM, -EINVAL.
 */
int encoder_create(struct encoder **encoder, const struct plan *plans, unsigned int plan_count,
		   const unsigned int *kinds, const __u8 *constant, unsigned int constant_size);
void encoder_destroy(struct encoder *encoder);

/*
 * Write `count` flows into messages of at most `message_size` octets, grouped by
 * domain and into sets by template; orders `flows` so. Writes whole messages while
 * `buffer` (of `buffer_size` octets) and `messages` (of `message_limit`) have room.
 * Fractions of counters are carried to the next record of their domain; where there is
 * a verdict, those of what was dropped and of what was not each by themselves, so that a
 * record whose packets were all dropped says that of all of them.
 * Returns the number of flows written, the first ones of `flows`, and their messages
 * in `*message_count`; or -EMSGSIZE where a record does not fit a message, -ENOMEM.
 */
int encode_flows(struct encoder *encoder, struct flow **flows, unsigned int count, __u32 export_time,
		 __u32 message_size, __u8 *buffer, __u32 buffer_size, struct message *messages,
		 unsigned int message_limit, unsigned int *message_count);

/* By which templates the last encode_flows() wrote, each pair once. Returns how many; they are the encoder's. */
unsigned int encoder_used(const struct encoder *encoder, const struct template_use **uses);

/* The run that the first of `count` messages begins. */
struct message_run encoder_run(const struct message *messages, unsigned int count);

/*
 * Write the headers (RFC 7011 section 3.1) of messages of one domain. Returns the
 * sequence number behind them.
 */
__u32 encode_headers(__u8 *buffer, const struct message *messages, unsigned int count, __u32 export_time,
		     __u32 sequence);
