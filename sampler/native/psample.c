/*
 * A source of samples: a socket that gets one psample group's messages, and the combinations of rate, domain and point
 * that are known.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "psample.h"
#include "psample_socket.h"

#define MESSAGES 32	/* taken from the socket at once */
/* psample makes no packet and its attributes longer than 65535 octets (PSAMPLE_MAX_PACKET_SIZE). */
#define MESSAGE_SIZE (66 * 1024)
#define ROUNDS_MAX 64	/* of messages without a sample, before the caller may look at the clock */
#define SLOTS 16384	/* of the hash of combinations, a power of two */
/* A timestamp further from now is that of a clock which was set meanwhile. */
#define TIME_MAX 60000000000LL

struct known {
	struct psample_combination combination;
	__u16 generation;
	__u8 rule;
	bool used;
};

struct psample {
	int fd;
	__u32 group;
	__u32 domain;
	__u32 point;
	struct psample_view view;
	struct psample_link *links;
	struct port_tunnels *ports;
	struct sequence sequence;
	struct psample_stats stats;
	__u32 dropped;	/* as the socket counts it, at the last look */
	__s64 offset;	/* from wall time to CLOCK_MONOTONIC, and this, when the last messages came */
	__s64 now;
	bool stopped;	/* at a message of an unknown combination, below */
	bool adds_no_more;
	struct psample_combination unknown;
	unsigned int combinations;
	unsigned int seen;
	struct psample_seen places[PSAMPLE_SEEN];
	struct known known[SLOTS];
	unsigned int next;	/* message to look at */
	unsigned int came;
	struct mmsghdr headers[MESSAGES];
	struct iovec parts[MESSAGES];
	__u8 messages[MESSAGES][MESSAGE_SIZE];
};

int psample_new(struct psample **out, __u32 group, __u32 domain, __u32 point, enum psample_direction direction)
{
	struct psample *source;

	if (direction != PSAMPLE_DIRECTION_AUTO && direction != PSAMPLE_DIRECTION_INGRESS)
		return -EINVAL;
	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	source->fd = -1;
	source->group = group;
	source->domain = domain;
	source->point = point;
	source->view.direction = direction;
	for (unsigned int i = 0; i < MESSAGES; i++) {
		source->parts[i] = (struct iovec){ source->messages[i], MESSAGE_SIZE };
		source->headers[i].msg_hdr.msg_iov = &source->parts[i];
		source->headers[i].msg_hdr.msg_iovlen = 1;
	}
	*out = source;
	return 0;
}

void psample_free(struct psample *source)
{
	if (!source)
		return;
	if (source->fd >= 0)
		close(source->fd);
	free(source->links);
	free(source->ports);
	free(source);
}

static void take_socket(struct psample *source, int fd)
{
	psample_disconnect(source);
	source->fd = fd;
	source->dropped = psample_socket_dropped(fd);
}

int psample_attach(struct psample *source, int fd, unsigned int buffer)
{
	int code = psample_socket_prepare(fd, source->group, buffer);

	if (!code)
		take_socket(source, fd);
	return code;
}

int psample_connect(struct psample *source, __u32 multicast_group, unsigned int buffer)
{
	int fd = psample_socket_open(source->group, multicast_group, buffer);

	if (fd < 0)
		return fd;
	take_socket(source, fd);
	return 0;
}

void psample_disconnect(struct psample *source)
{
	if (source->fd < 0)
		return;
	psample_look(source);
	close(source->fd);
	source->fd = -1;
	source->sequence = (struct sequence){ .known = false };
}

int psample_fd(const struct psample *source)
{
	return source->fd;
}

int psample_set_links(struct psample *source, const struct psample_link *links, unsigned int count)
{
	struct psample_link *copy = calloc(count ? count : 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, links, count * sizeof(*copy));
	free(source->links);
	source->view.links = source->links = copy;
	source->view.link_count = count;
	return 0;
}

int psample_set_ports(struct psample *source, const struct port_tunnels *ports)
{
	struct port_tunnels *copy = NULL;

	if (ports) {
		copy = malloc(PORT_ENTRIES * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, ports, PORT_ENTRIES * sizeof(*copy));
	}
	free(source->ports);
	source->view.ports = source->ports = copy;
	return 0;
}

/* Where the combination is in the hash, or is to be put. */
static struct known *find_known(struct psample *source, const struct psample_combination *combination)
{
	__u64 hash = combination->rate * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 32 ^ combination->domain) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ hash >> 32 ^ combination->point) * 0x9e3779b97f4a7c15ULL;
	for (unsigned int i = hash >> 40;; i++) {
		struct known *known = &source->known[i % SLOTS];

		if (!known->used || !memcmp(&known->combination, combination, sizeof(*combination)))
			return known;
	}
}

int psample_add(struct psample *source, const struct psample_combination *combination, __u16 generation,
		unsigned int rule)
{
	struct known *known = find_known(source, combination);

	if (rule > 63)
		return -EINVAL;
	if (!known->used && source->combinations == PSAMPLE_COMBINATIONS)
		return -ENOSPC;
	source->combinations += !known->used;
	*known = (struct known){ .combination = *combination, .generation = generation, .rule = rule, .used = true };
	source->stopped = false;
	return 0;
}

void psample_forget(struct psample *source)
{
	memset(source->known, 0, sizeof(source->known));
	source->combinations = 0;
	source->adds_no_more = false;
	source->stopped = false;
}

void psample_add_no_more(struct psample *source)
{
	source->adds_no_more = true;
	source->stopped = false;
}

int psample_unknown(const struct psample *source, struct psample_combination *out)
{
	if (source->stopped)
		*out = source->unknown;
	return source->stopped;
}

static bool receive(struct psample *source)
{
	struct timespec wall, monotonic;
	int count;

	if (source->fd < 0)
		return false;
	count = recvmmsg(source->fd, source->headers, MESSAGES, MSG_DONTWAIT, NULL);
	if (count <= 0)
		return false;
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	source->now = monotonic.tv_sec * 1000000000LL + monotonic.tv_nsec;
	source->offset = source->now - (wall.tv_sec * 1000000000LL + wall.tv_nsec);
	source->next = 0;
	source->came = count;
	return true;
}

static __u64 time_of(const struct psample *source, const struct psample_message *message)
{
	__s64 time = (__s64)message->timestamp + source->offset;

	if (!message->timestamp || time > source->now || time < source->now - TIME_MAX || time < 0)
		return source->now;
	return time;
}

static struct psample_combination combination_of(const struct psample *source, const struct psample_message *message)
{
	struct psample_combination combination = {
		.rate = message->rate, .domain = source->domain, .point = source->point,
		.probability = message->probability,
	};
	__u64 cookie;

	if (message->cookie_length == PSAMPLE_COOKIE) {
		memcpy(&cookie, message->cookie, sizeof(cookie));
		cookie = be64toh(cookie);
		combination.domain = cookie >> 32;
		combination.point = (__u32)cookie;
	}
	return combination;
}

static void see(struct psample *source, const struct flow_key *key)
{
	for (unsigned int i = 0; i < PSAMPLE_SEEN; i++) {
		struct psample_seen *place = &source->places[i];

		if (i == source->seen) {
			*place = (struct psample_seen){ .ifindex = key->ifindex, .direction = key->direction };
			source->seen++;
		}
		if (place->ifindex == key->ifindex && place->direction == key->direction) {
			place->samples++;
			return;
		}
	}
}

/* The message at hand into `out`. Returns whether it became a sample; stops at an unknown combination. */
static bool take(struct psample *source, struct sample *out)
{
	const struct mmsghdr *header = &source->headers[source->next];
	struct psample_stats *stats = &source->stats;
	struct psample_combination combination;
	struct psample_message message;
	const struct known *known;
	int code;

	code = psample_decode(source->messages[source->next], header->msg_len, &message);
	if (header->msg_hdr.msg_flags & MSG_TRUNC)
		code = -EBADMSG;
	if (code == -ENOMSG || (!code && message.group != source->group)) {
		source->next++;
		return false;
	}
	if (code) {
		source->next++;
		stats->messages++;
		stats->lost_malformed++;
		return false;
	}
	combination = combination_of(source, &message);
	known = find_known(source, &combination);
	if (!known->used && !source->adds_no_more) {
		source->stopped = true;
		source->unknown = combination;
		return false;
	}
	source->next++;
	stats->messages++;
	/* Open vSwitch makes a group of its own for each packet: its numbers are all 0 (commit aae0b82b46cb). */
	if (message.has_sequence && !message.probability)
		sequence_see(&source->sequence, message.sequence);
	if (!known->used) {
		stats->lost_combinations++;
		return false;
	}
	psample_describe(&source->view, &message, out, stats);
	out->meta.time = time_of(source, &message);
	out->meta.generation = known->generation;
	out->meta.rules = 1ULL << known->rule;
	see(source, &out->key);
	stats->samples++;
	stats->without_cookie += !message.cookie_length;
	stats->other_cookie += message.cookie_length && message.cookie_length != PSAMPLE_COOKIE;
	return true;
}

unsigned int psample_read(struct psample *source, struct sample *batch, unsigned int capacity)
{
	unsigned int filled = 0, rounds = 0;

	while (filled < capacity && !source->stopped) {
		if (source->next == source->came && (rounds++ == ROUNDS_MAX || !receive(source)))
			break;
		filled += take(source, &batch[filled]);
	}
	return filled;
}

void psample_look(struct psample *source)
{
	__u32 dropped;
	__u64 lost;

	if (source->fd < 0)
		return;
	dropped = psample_socket_dropped(source->fd);
	lost = dropped - source->dropped;
	source->dropped = dropped;
	source->stats.lost_socket += lost;
	sequence_excuse(&source->sequence, lost);
	source->stats.lost_kernel += sequence_look(&source->sequence);
}

void psample_get_stats(const struct psample *source, struct psample_stats *out)
{
	*out = source->stats;
}

unsigned int psample_get_seen(const struct psample *source, struct psample_seen *out)
{
	memcpy(out, source->places, source->seen * sizeof(*out));
	return source->seen;
}
