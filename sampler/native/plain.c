/* Plain records of a pcap file: see plain.h. The format is that of draft-ietf-opsawg-pcap. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plain.h"

#define MAGIC 0xa1b2c3d4
#define MAGIC_NANO 0xa1b23c4d
#define MAJOR 2
#define MINOR 4	/* below, some writers had the two lengths the other way round */
/* libpcap's MAXIMUM_SNAPLEN: it calls longer records damaged. */
#define CAPTURED_MAX 262144
/* Read at once; it stays in the second-level cache until it is parsed. */
#define PIECE (256 * 1024)
#define NANOSECONDS 1000000000u

struct file_header {
	__u32 magic;
	__u16 major;
	__u16 minor;
	__u32 reserved[2];
	__u32 snapshot_length;
	__u32 link_type;
};

struct record_header {
	__u32 seconds;
	__u32 fraction;
	__u32 captured;
	__u32 length;
};

_Static_assert(sizeof(struct file_header) == 24 && sizeof(struct record_header) == 16, "as in the file");

struct plain {
	FILE *stream;	/* libpcap's */
	int fd;	/* of the stream, which is read past it */
	__u32 fractions;	/* of a second */
	__u32 unit;	/* ns in each of them */
	__u32 snapshot;
	off_t offset;	/* in the file, of what is at `begin` */
	size_t begin;
	size_t filled;
	__u8 bytes[PIECE + sizeof(struct record_header) + CAPTURED_MAX];
};

int plain_open(struct plain **out, pcap_t *pcap)
{
	FILE *stream = pcap_file(pcap);
	struct file_header header;
	struct plain *plain;
	off_t offset;

	*out = NULL;
	/* It says 1.0 of pcapng, whose octets before its position may look like anything. */
	if (pcap_major_version(pcap) != MAJOR || pcap_minor_version(pcap) != MINOR)
		return 0;
	/* libpcap has read the header; where the file began, the descriptor may have been anywhere. */
	offset = ftello(stream);
	if (offset < (off_t)sizeof(header) ||
	    pread(fileno(stream), &header, sizeof(header), offset - sizeof(header)) != sizeof(header))
		return 0;
	if ((header.magic != MAGIC && header.magic != MAGIC_NANO) || header.major != MAJOR || header.minor != MINOR)
		return 0;
	plain = malloc(sizeof(*plain));
	if (!plain)
		return -ENOMEM;
	plain->stream = stream;
	plain->fd = fileno(stream);
	plain->unit = header.magic == MAGIC ? 1000 : 1;
	plain->fractions = NANOSECONDS / plain->unit;
	plain->snapshot = pcap_snapshot(pcap) < CAPTURED_MAX ? pcap_snapshot(pcap) : CAPTURED_MAX;
	plain->offset = offset;
	plain->begin = plain->filled = 0;
	*out = plain;
	return 0;
}

void plain_close(struct plain *plain)
{
	free(plain);
}

/* Reads on until `size` octets are there. False: there are fewer, or they cannot be read. */
static bool fill(struct plain *plain, size_t size)
{
	size_t there = plain->filled - plain->begin;

	memmove(plain->bytes, plain->bytes + plain->begin, there);
	plain->begin = 0;
	while (there < size) {
		ssize_t got = pread(plain->fd, plain->bytes + there, PIECE, plain->offset + there);

		if (got <= 0)
			break;
		there += got;
	}
	plain->filled = there;
	return there >= size;
}

static bool has(struct plain *plain, size_t size)
{
	return plain->filled - plain->begin >= size || fill(plain, size);
}

/* Whether the next record is plain and there; its header. */
static bool read_header(struct plain *plain, struct record_header *out)
{
	if (!has(plain, sizeof(*out)))
		return false;
	memcpy(out, plain->bytes + plain->begin, sizeof(*out));
	/* libpcap has ideas of its own about times past 2038, and of fractions that are whole seconds. */
	if (out->seconds >> 31 || out->fraction >= plain->fractions || out->captured > plain->snapshot)
		return false;
	return has(plain, sizeof(*out) + out->captured);
}

bool plain_next(struct plain *plain, struct pcap_pkthdr *header, const __u8 **record)
{
	struct record_header found;

	if (!read_header(plain, &found)) {
		fseeko(plain->stream, plain->offset, SEEK_SET);
		return false;
	}
	header->ts.tv_sec = found.seconds;
	header->ts.tv_usec = found.fraction * plain->unit;
	header->caplen = found.captured;
	header->len = found.length;
	*record = plain->bytes + plain->begin + sizeof(found);
	plain->begin += sizeof(found) + found.captured;
	plain->offset += sizeof(found) + found.captured;
	return true;
}

__u64 plain_position(const struct plain *plain)
{
	return plain->offset;
}
