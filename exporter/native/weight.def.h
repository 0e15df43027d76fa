/* Weights: how many packets a sample stands for, by the generation and the selector that took it. Read by cc and cffi. */

/* Super-packets up to this many packets have their weight in a table: a 64 KiB GSO packet has 45 full segments. */
#define WEIGHT_TABLE 64

/* Generations known at once: samples of an older configuration are in flight for milliseconds. */
#define WEIGHT_GENERATIONS 16

/*
 * Beside these, generations of the highest numbers stay known for good: those of selectors that come with the
 * samples (the kernel's psample), and do not change with the configuration of the gates. A selector that such a
 * generation has no more has ended: its number may be another's.
 */
#define WEIGHT_LASTING 64
#define WEIGHT_LASTING_FIRST 65472	/* 2^16 - WEIGHT_LASTING */

/* Selectors of one exporter in a generation: one a flow rule (bits of struct sample_meta.rules), and the main one. */
#define SELECTORS 65
#define SELECTOR_MAIN 64	/* its number; it takes what struct sample_meta.main says */

/*
 * Weights of one generation whose gate takes wire packets with probability p. Weights
 * are in 32.32 fixed point: table[s] = 1 / pi(s) for a sample of s packets, with
 * pi(s) = 1 - (1 - p)^s; table[0] is not used.
 */
struct weight {
	__u64 table[65];
	double log_miss;	/* ln(1 - p), minus infinity for p = 1 */
	double scale;	/* of the weights: 1, or where counts are raw p, by which those of the table are multiplied, too */
	__u16 generation;
};

/* One selector: of what the gate took it takes a share t by chance, for an observation point of its own. */
struct selector {
	__u64 factor;	/* 1 / t: the whole number */
	__u64 factor_fraction;	/* and 64 bits behind the point */
	double unit;	/* packets that one counted packet stands for: 1, more where counts are raw */
	__u32 domain;	/* observationDomainId of its flows */
	__u32 point;	/* observationPointId (138) */
	__u8 number;	/* the rule's bit, or SELECTOR_MAIN */
	__u8 reserved[7];
};

/* What a selector counted. */
struct selector_stats {
	__u64 samples;
	__u64 packets;	/* the sum of their weights: wire packets that they stand for, unless counts are raw */
	double packets_estimate;	/* wire packets that they stand for */
	double packets_variance;	/* of that */
	double octets_estimate;	/* the same of octets of IP */
	double octets_variance;
	__u16 generation;
	__u8 number;
	__u8 reserved[5];
};
