/* A pipe that a capture is written into, read ahead by whole records. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/types.h>

#include "pipe.h"

/* draft-ietf-opsawg-pcap: file header, and record header with the captured length at 8. */
#define PCAP_FILE_HEADER 24
#define PCAP_RECORD_HEADER 16
#define PCAP_MAGIC 0xa1b2c3d4
#define PCAP_MAGIC_NANO 0xa1b23c4d
/* draft-ietf-opsawg-pcapng: blocks of type, length, body, length. */
#define PCAPNG_SECTION 0x0a0d0d0a
#define PCAPNG_BYTE_ORDER 0x1a2b3c4d
#define PCAPNG_BLOCK_MIN 12
#define PCAPNG_OBSOLETE_PACKET 2
#define PCAPNG_SIMPLE_PACKET 3
#define PCAPNG_ENHANCED_PACKET 6
/* A record longer than this is left to libpcap, which calls it damaged. */
#define RECORD_MAX (1 << 20)
#define CHUNK (64 * 1024)

enum format {
	FORMAT_UNKNOWN,
	FORMAT_PCAP,
	FORMAT_PCAPNG,
};

struct pipe {
	int fd;
	bool end;
	bool swapped;
	enum format format;
	size_t begin;	/* of the octets that libpcap has not taken */
	size_t filled;
	size_t size;
	__u8 *bytes;
};

int pipe_open(struct pipe **out, int fd)
{
	struct pipe *pipe = calloc(1, sizeof(*pipe));

	if (!pipe)
		return -ENOMEM;
	pipe->fd = fd;
	*out = pipe;
	return 0;
}

void pipe_close(struct pipe *pipe)
{
	if (!pipe)
		return;
	free(pipe->bytes);
	free(pipe);
}

/* Room for one more chunk behind what is there. */
static int make_room(struct pipe *pipe)
{
	size_t kept = pipe->filled - pipe->begin;
	__u8 *bytes;

	if (pipe->begin) {
		memmove(pipe->bytes, pipe->bytes + pipe->begin, kept);
		pipe->begin = 0;
		pipe->filled = kept;
	}
	if (pipe->size - kept >= CHUNK)
		return 0;
	bytes = realloc(pipe->bytes, kept + CHUNK);
	if (!bytes)
		return -ENOMEM;
	pipe->bytes = bytes;
	pipe->size = kept + CHUNK;
	return 0;
}

/* One read(2) of the pipe. Returns octets, 0 at its end, or -errno: -EINTR too, so that a signal ends a silent pipe. */
static ssize_t fill(struct pipe *pipe)
{
	ssize_t got = make_room(pipe);

	if (got)
		return got;
	got = read(pipe->fd, pipe->bytes + pipe->filled, pipe->size - pipe->filled);
	if (got < 0)
		return -errno;
	if (!got)
		pipe->end = true;
	pipe->filled += got;
	return got;
}

/* What libpcap reads through its stream: what was read ahead, and only then the pipe itself. */
static ssize_t take(void *cookie, char *buffer, size_t size)
{
	struct pipe *pipe = cookie;
	size_t there;
	ssize_t got;

	while (pipe->begin == pipe->filled && !pipe->end) {
		got = fill(pipe);
		if (got < 0) {
			errno = -got;
			return -1;
		}
	}
	there = pipe->filled - pipe->begin;
	if (size > there)
		size = there;
	if (size)
		memcpy(buffer, pipe->bytes + pipe->begin, size);
	pipe->begin += size;
	return size;
}

FILE *pipe_stream(struct pipe *pipe)
{
	const cookie_io_functions_t functions = { .read = take };
	FILE *stream;
	__u32 magic;

	/* The file's header tells its format: wait for that much. */
	while (!pipe->end && pipe->filled < PCAP_FILE_HEADER) {
		ssize_t got = fill(pipe);

		if (got < 0) {
			errno = -got;
			return NULL;
		}
	}
	if (pipe->filled >= PCAP_FILE_HEADER) {
		memcpy(&magic, pipe->bytes, sizeof(magic));
		if (magic == PCAPNG_SECTION)
			pipe->format = FORMAT_PCAPNG;
		else
			pipe->format = FORMAT_PCAP;
		pipe->swapped = magic == __builtin_bswap32(PCAP_MAGIC) || magic == __builtin_bswap32(PCAP_MAGIC_NANO);
	}
	stream = fopencookie(pipe, "r", functions);
	/* stdio must not hide from pipe_ready() what it has read. */
	if (stream)
		setvbuf(stream, NULL, _IONBF, 0);
	return stream;
}

static __u32 number(const struct pipe *pipe, const __u8 *from)
{
	__u32 value;

	memcpy(&value, from, sizeof(value));
	return pipe->swapped ? __builtin_bswap32(value) : value;
}

static bool whole_pcap_record(const struct pipe *pipe)
{
	size_t there = pipe->filled - pipe->begin;
	__u32 captured;

	if (there < PCAP_RECORD_HEADER)
		return false;
	captured = number(pipe, pipe->bytes + pipe->begin + 8);
	return captured > RECORD_MAX || there >= PCAP_RECORD_HEADER + captured;
}

/* libpcap passes over blocks without a packet: look for one behind them. */
static bool whole_pcapng_packet(struct pipe *pipe)
{
	size_t offset = pipe->begin;
	__u32 type, length, order;

	while (pipe->filled - offset >= PCAPNG_BLOCK_MIN) {
		const __u8 *block = pipe->bytes + offset;

		memcpy(&type, block, sizeof(type));
		if (type == PCAPNG_SECTION) {
			memcpy(&order, block + 8, sizeof(order));
			pipe->swapped = order == __builtin_bswap32(PCAPNG_BYTE_ORDER);
		}
		type = number(pipe, block);
		length = number(pipe, block + 4);
		if (length < PCAPNG_BLOCK_MIN || length > RECORD_MAX)
			return true;
		if (pipe->filled - offset < length)
			return false;
		if (type == PCAPNG_ENHANCED_PACKET || type == PCAPNG_SIMPLE_PACKET || type == PCAPNG_OBSOLETE_PACKET)
			return true;
		offset += length;
	}
	return false;
}

int pipe_ready(struct pipe *pipe)
{
	struct pollfd poller = { .fd = pipe->fd, .events = POLLIN };
	ssize_t got;

	for (;;) {
		if (pipe->end)
			return 1;
		if (pipe->format == FORMAT_PCAPNG ? whole_pcapng_packet(pipe) : whole_pcap_record(pipe))
			return 1;
		if (poll(&poller, 1, 0) < 0)
			return errno == EINTR ? 0 : -errno;
		if (!poller.revents)
			return 0;
		got = fill(pipe);
		if (got < 0)
			return got;
	}
}
