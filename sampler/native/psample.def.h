/* The kernel's psample groups as a source of samples. Declarations only: read by cc and cffi. Not thread-safe. */

/* One source: what is sent to one group. */
struct psample;

/* Where a packet was sampled whose message names two interfaces. */
enum psample_direction {
	PSAMPLE_DIRECTION_AUTO = 0,	/* where it left: so does tc; where it came in, it knows only that */
	PSAMPLE_DIRECTION_INGRESS = 1,	/* where it came in: so do switches */
};

/* What decides weight, observation domain and point of a sample. A source knows up to PSAMPLE_COMBINATIONS. */
#define PSAMPLE_COMBINATIONS 4096
struct psample_combination {
	__u32 rate;	/* N of 1 in N, or P: taken with probability (P + 1) / 2^32 */
	__u32 domain;
	__u32 point;
	__u32 probability;	/* 1: rate is P */
};

/* What is known of an interface. */
struct psample_link {
	__u32 ifindex;
	__u32 mtu;	/* 0: none */
	__u16 port;	/* UDP destination port of the tunnel netdev, host order; 0: none */
	__u8 l3;	/* its packets have no Ethernet header */
	__u8 tunnel_type;	/* enum tunnel_type of a tunnel netdev, else 0 */
	__u8 key_length;	/* as struct tunnel_key */
	__u8 protocol;
	__u8 reserved[2];
};

/* Where samples were observed. */
struct psample_seen {
	__u32 ifindex;
	__u32 direction;	/* enum direction */
	__u64 samples;
};

/* Interfaces and directions that are told apart; what comes from others is not counted by them. */
#define PSAMPLE_SEEN 64

/* messages = samples + lost_combinations + lost_malformed. lost_socket and lost_kernel come beside them. */
struct psample_stats {
	__u64 messages;	/* read from the socket */
	__u64 samples;	/* written to a batch */
	__u64 lost_socket;	/* no room in the socket's buffer: the reader was too slow */
	__u64 lost_kernel;	/* numbered by the group, and not even offered to the socket */
	__u64 lost_combinations;	/* one combination of rate, domain and point too many */
	__u64 lost_malformed;	/* attributes that contradict themselves */
	__u64 without_cookie;	/* samples: they have the defaults for domain and point */
	__u64 other_cookie;	/* samples: their cookie is not 8 octets long, and they have the defaults */
	__u64 super_packets;	/* samples longer than the MTU: several wire packets that count as one */
	__u64 without_interface;	/* samples of no interface */
	__u64 unknown_tunnel;	/* samples whose tunnel's kind is not known: described without it */
	__u64 cut;	/* samples with part of their packet only */
	__u64 truncated;	/* samples with SAMPLE_TRUNCATED */
	__u64 malformed;	/* samples with SAMPLE_MALFORMED */
	__u64 chain;	/* samples with SAMPLE_CHAIN */
	__u64 tunnel_missed[8];	/* samples by enum tunnel_miss */
};

/*
 * A source of this group without a socket. Samples without cookie have the `domain` and `point`. Returns 0, -EINVAL
 * for the direction, or -ENOMEM.
 */
int psample_new(struct psample **out, __u32 group, __u32 domain, __u32 point, enum psample_direction direction);
void psample_free(struct psample *source);

/*
 * Receives what the family (see genetlink_find) sends from now on, instead of what it received before; what came is
 * to be read first. `buffer`: octets of messages that may wait. Returns 0 or -errno: -EPERM without CAP_NET_ADMIN.
 */
int psample_connect(struct psample *source, __u32 multicast_group, unsigned int buffer);

/* As psample_connect, by a netlink socket that gets the messages once the source has closed the door to other groups. */
int psample_attach(struct psample *source, int fd, unsigned int buffer);

/* Closes the socket. What was lost stays counted. */
void psample_disconnect(struct psample *source);

/* The socket, to poll; -1 without. */
int psample_fd(const struct psample *source);

/* All links, in ascending order by ifindex. Replaces those before. 0 or -ENOMEM. */
int psample_set_links(struct psample *source, const struct psample_link *links, unsigned int count);

/* The PORT_ENTRIES entries of ports that are tunnels'; NULL: no tunnel is looked into. 0 or -ENOMEM. */
int psample_set_ports(struct psample *source, const struct port_tunnels *ports);

/*
 * Reads messages into up to `capacity` samples; returns how many. It stops where no message waits, and at one whose
 * combination is not known: see psample_unknown.
 */
unsigned int psample_read(struct psample *source, struct sample *batch, unsigned int capacity);

/* Whether reading stopped at an unknown combination: that is to be added, or no more are taken. */
int psample_unknown(const struct psample *source, struct psample_combination *out);

/* Samples of this combination get this generation and this rule bit. 0, -ENOSPC, or -EINVAL for the rule. */
int psample_add(struct psample *source, const struct psample_combination *combination, __u16 generation,
		unsigned int rule);

/* Knows no combination any more: each is asked for again. */
void psample_forget(struct psample *source);

/* From here on, until psample_forget, samples of unknown combinations are counted as lost. */
void psample_add_no_more(struct psample *source);

/* Looks how many messages were lost. To be called when psample_read has read all, and from time to time. */
void psample_look(struct psample *source);

void psample_get_stats(const struct psample *source, struct psample_stats *out);

/* Copies where samples were observed to `out`, which has room for PSAMPLE_SEEN. Returns how many. */
unsigned int psample_get_seen(const struct psample *source, struct psample_seen *out);
