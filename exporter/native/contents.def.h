/* What the flow records of a message hold, read back from its octets. Declarations only: read by cc and cffi. */

/* A template of flow records. */
struct contents_template {
	__u16 id;
	__u16 field_count;
	__u16 packets;	/* place of packetDeltaCount among the fields */
	__u16 octets;	/* of octetDeltaCount, or of layer2OctetDeltaCount where there is no IP */
	const __u16 *lengths;	/* octets of each field, 65535 where the value says its own */
};

struct contents {
	__u32 export_time;	/* of the message */
	__u32 domain;
	__u32 flows;	/* flow records */
	__u64 packets;
	__u64 octets;
};

/*
 * Sum over the flow records of one message of ours. `templates` are ordered by id;
 * Sets of others (templates, options data) count nothing. 0, or -EINVAL where the
 * octets are no whole message.
 */
int message_contents(const struct contents_template *templates, unsigned int count, const __u8 *message,
		  __u32 length, struct contents *contents);
