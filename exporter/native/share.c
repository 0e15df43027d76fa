/* Flows shared out among collectors by their hash: a counting sort. */
#include <string.h>

#include "share.h"

/* Not the bits that the cache's index uses first, nor the top three, which say what lines a flow has. */
#define BUCKET_SHIFT 21

static unsigned int bucket_of(const struct flow *flow)
{
	return flow->hash >> BUCKET_SHIFT & (SHARE_BUCKETS - 1);
}

void share_flows(struct flow **flows, unsigned int count, const __u8 *shares, unsigned int share_count,
		 struct flow **ordered, unsigned int *counts)
{
	unsigned int places[SHARE_BUCKETS];
	unsigned int place = 0;

	memset(counts, 0, share_count * sizeof(*counts));
	for (unsigned int i = 0; i < count; i++)
		counts[shares[bucket_of(flows[i])]]++;
	for (unsigned int i = 0; i < share_count; i++) {
		places[i] = place;
		place += counts[i];
	}
	for (unsigned int i = 0; i < count; i++)
		ordered[places[shares[bucket_of(flows[i])]]++] = flows[i];
}
