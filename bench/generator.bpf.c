/* The traffic of the live benchmarks: IPv4/UDP frames of one flow after the other, redirected to a link (traffic.py). */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>

#define FIRST_ADDRESS 0x0a000000u	/* 10.0.0.0 */
#define FIRST_PORT 1024
#define PORTS 50000
#define MARK 64	/* frames; a look at the clock for each would cost more than the rest of it */
#define LATE 128	/* frames; a batch of 64 is sent when all of it is made */
#define SPIN (1 << 20)	/* looks at the clock at most: longer than any gap */

struct traffic {
	__u64 sent;	/* frames */
	__u64 due;	/* when the next one goes, by the monotonic clock; 0: at once */
	__u64 gap;	/* ns from one to the next; 0: as fast as they are made */
	__u32 flows;	/* addresses and ports by turns, one after the other */
	__u32 link;	/* ifindex */
	__u64 began;	/* monotonic time of the first frame */
	__u64 latest;	/* and of the one that is at `marked` */
	__u64 marked;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

char terms[] SEC("license") = "GPL";

struct moment {
	__u64 due;
	__u64 now;
};

static long is_due(__u32 index, struct moment *moment)
{
	moment->now = bpf_ktime_get_ns();
	return moment->now >= moment->due;
}

/* Where the machine has stood still, what was due meanwhile is not sent at once: that would be another rate. */
static __always_inline void wait(struct traffic *state)
{
	struct moment moment = { .due = state->due };

	bpf_loop(SPIN, is_due, &moment, 0);
	if (moment.now > moment.due + LATE * state->gap)
		moment.due = moment.now;
	state->due = moment.due + state->gap;
}

static __always_inline void mark(struct traffic *state)
{
	if (state->sent % MARK)
		return;
	state->marked = state->sent;
	state->latest = bpf_ktime_get_ns();
	if (!state->sent)
		state->began = state->latest;
}

/* RFC 1624: `base` is the sum without the old address. */
static __always_inline __u16 checksum(__u32 base, __u32 address)
{
	__u32 sum = base + (address >> 16) + (address & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp")
int generate(struct xdp_md *frame)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	struct traffic *state;
	__u32 zero = 0, flow, address;
	__u32 base;

	state = bpf_map_lookup_elem(&traffic, &zero);
	if (!state || !state->flows || (void *)(udp + 1) > end)
		return XDP_ABORTED;
	if (state->gap)
		wait(state);
	mark(state);
	flow = state->sent++ % state->flows;
	address = FIRST_ADDRESS + flow;
	base = (__u16)~bpf_ntohs(ip->check);
	/* Pages come back with the address that they had: its part of the sum goes, the new one's comes. */
	base += (__u16)~(bpf_ntohl(ip->saddr) >> 16) + (__u16)~bpf_ntohl(ip->saddr);
	ip->saddr = bpf_htonl(address);
	ip->check = bpf_htons(checksum(base, address));
	udp->source = bpf_htons(FIRST_PORT + flow % PORTS);
	return bpf_redirect(state->link, 0);
}
