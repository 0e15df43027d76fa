/* Flows shared out among collectors. Declarations only: read by cc and cffi. */

/* Of a flow's hash: so fine are the shares. */
#define SHARE_BUCKETS 256

/*
 * Order `count` flows by share: `shares` gives for each of the SHARE_BUCKETS the
 * share, below `share_count`, that its flows belong to. Pointers go into `ordered`,
 * in the order that they had within a share; `counts` gets how many each share has.
 */
void share_flows(struct flow **flows, unsigned int count, const __u8 *shares, unsigned int share_count,
		 struct flow **ordered, unsigned int *counts);
