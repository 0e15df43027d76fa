/*
 * Captures read into samples: libpcap takes the records, or plain.c where they are plain, linktype.c the frames, the BPF
 * parser the samples.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "linktype.h"
#include "parser.h"
#include "pipe.h"
#include "plain.h"
#include "thinning.h"

/* Frames read without a sample before capture_read lets its caller look at the clock. */
#define FRAMES_MAX 65536
/* Time that one batch may span: flows end between batches, by timeouts of whole seconds. */
#define SPAN_MAX 1000000000ULL
#define ERROR_SIZE (PCAP_ERRBUF_SIZE + 64)
#define NANOSECONDS 1000000000ULL
/* IPFIX's Export Time has 32 bits and is rounded up. Damaged captures have later times. */
#define SECONDS_MAX 4294967294LL
/* Of a file's stream: libpcap asks it for two pieces a record. */
#define STREAM_BUFFER (64 * 1024)

struct capture {
	pcap_t *pcap;
	struct pipe *pipe;	/* NULL: a file */
	bool regular;	/* a file that ends without anybody's doing */
	struct plain *plain;	/* NULL: libpcap reads the records, from now on */
	struct pcap_pkthdr plain_header;
	int link_type;
	int pending;	/* of an error that came behind samples */
	bool at_end;
	struct capture_stats stats;
	struct thinning thinning;
	struct port_tunnels *ports;	/* NULL: no tunnel is followed */
	bool holds;	/* the sample below: it is later than the batch that was being filled */
	struct sample held;
	struct capture_stats before;	/* the held sample was read */
	char error[ERROR_SIZE];
	char buffer[STREAM_BUFFER];
	struct link_frame frame;	/* last, so that a sanitizer sees a write behind its buffer */
};

/* A file, or standard input where that is one: it never has to be waited for. */
static int open_file(struct capture *capture, const char *path, char *error)
{
	FILE *file = path ? fopen(path, "rb") : fdopen(dup(STDIN_FILENO), "rb");
	struct stat status = { 0 };
	int code;

	if (!file) {
		code = -errno;
		snprintf(error, PCAP_ERRBUF_SIZE, "%s", strerror(-code));
		return code;
	}
	if (!fstat(fileno(file), &status) && S_ISDIR(status.st_mode)) {
		fclose(file);
		snprintf(error, PCAP_ERRBUF_SIZE, "%s", strerror(EISDIR));
		return -EISDIR;
	}
	capture->regular = S_ISREG(status.st_mode);
	/* Nobody else reads it, so it needs no lock. */
	__fsetlocking(file, FSETLOCKING_BYCALLER);
	setvbuf(file, capture->buffer, _IOFBF, sizeof(capture->buffer));
	capture->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, error);
	if (capture->pcap)
		return capture->regular ? plain_open(&capture->plain, capture->pcap) : 0;
	fclose(file);
	return -EINVAL;
}

static int open_pipe(struct capture *capture, char *error)
{
	FILE *stream;
	int code;

	code = pipe_open(&capture->pipe, STDIN_FILENO);
	if (code) {
		snprintf(error, PCAP_ERRBUF_SIZE, "%s", strerror(-code));
		return code;
	}
	stream = pipe_stream(capture->pipe);
	if (!stream) {
		code = -errno;
		snprintf(error, PCAP_ERRBUF_SIZE, "%s", strerror(-code));
		return code;
	}
	capture->pcap = pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, error);
	if (capture->pcap)
		return 0;
	fclose(stream);
	return -EINVAL;
}

static int open_link_type(struct capture *capture, char *error)
{
	const char *name;

	capture->link_type = pcap_datalink(capture->pcap);
	if (link_type_known(capture->link_type))
		return 0;
	name = pcap_datalink_val_to_name(capture->link_type);
	snprintf(error, PCAP_ERRBUF_SIZE, "link type %s (%d) is not read", name ? name : "without a name",
		 capture->link_type);
	return -EPROTONOSUPPORT;
}

int capture_open(struct capture **out, const char *path, char *error, unsigned int error_size)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	char reason[PCAP_ERRBUF_SIZE] = "";
	bool standard_input = !strcmp(path, "-");
	struct stat status;
	int code;

	if (!capture)
		return -ENOMEM;
	if (standard_input && !fstat(STDIN_FILENO, &status) && !S_ISREG(status.st_mode))
		code = open_pipe(capture, reason);
	else
		code = open_file(capture, standard_input ? NULL : path, reason);
	if (!code)
		code = open_link_type(capture, reason);
	if (code) {
		snprintf(error, error_size, "%s", reason[0] ? reason : strerror(-code));
		capture_close(capture);
		return code;
	}
	*out = capture;
	return 0;
}

void capture_close(struct capture *capture)
{
	if (!capture)
		return;
	if (capture->pcap)
		pcap_close(capture->pcap);
	plain_close(capture->plain);
	pipe_close(capture->pipe);
	free(capture->ports);
	free(capture);
}

int capture_set_sampling(struct capture *capture, const struct sampling_config *config, const struct log2_table *table)
{
	return thinning_init(&capture->thinning, config, table);
}

int capture_set_tunnels(struct capture *capture, const struct port_tunnels *ports)
{
	struct port_tunnels *copy = malloc(PORT_ENTRIES * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, ports, PORT_ENTRIES * sizeof(*copy));
	free(capture->ports);
	capture->ports = copy;
	return 0;
}

static int fail(struct capture *capture)
{
	const char *reason = pcap_geterr(capture->pcap);

	snprintf(capture->error, sizeof(capture->error), "%s", reason);
	/* libpcap has one code for all errors, and this beginning for a file that ends too early. */
	return strncmp(reason, "truncated", strlen("truncated")) ? -EBADMSG : -ENODATA;
}

static __u64 nanoseconds(const struct pcap_pkthdr *header)
{
	/* Opened for nanoseconds, libpcap puts them in the field for microseconds. */
	__s64 seconds = header->ts.tv_sec, fraction = header->ts.tv_usec;

	if (seconds < 0)
		return 0;
	/* Damaged captures have fractions of any size and sign. */
	if (fraction < 0 || fraction >= (__s64)NANOSECONDS)
		fraction = 0;
	return (seconds < SECONDS_MAX ? seconds : SECONDS_MAX) * NANOSECONDS + fraction;
}

/* Whether the gate takes the frame of a record; then it is in capture->frame. It is not counted yet. */
static bool take_frame(struct capture *capture, const struct pcap_pkthdr *header, const __u8 *record)
{
	link_frame(capture->link_type, record, header->caplen, header->len, &capture->frame);
	return thinning_takes(&capture->thinning);
}

static void count_frame(struct capture *capture)
{
	capture->stats.packets++;
	capture->stats.octets += capture->frame.length;
}

/* The frame that was taken becomes a sample, and is counted. */
static void sample_frame(struct capture *capture, const struct pcap_pkthdr *header, __u64 time, struct sample *out)
{
	const struct link_frame *frame = &capture->frame;
	struct capture_stats *stats = &capture->stats;
	struct frame_info info = { .length = frame->length, .segments = 1, .l3 = frame->l3 };

	/* The only error is a frame with more captured than it has, which link_frame() rules out. */
	parse_super_packet(frame->bytes, frame->captured, &info, capture->ports, out);
	out->meta.generation = capture->thinning.config.generation;
	out->meta.main = 1;
	out->meta.time = time;
	out->key.ifindex = frame->ifindex;
	out->key.direction = frame->direction;
	count_frame(capture);
	stats->sampled++;
	stats->snapped += header->caplen < header->len;
	stats->truncated += !!(out->meta.flags & SAMPLE_TRUNCATED);
	stats->malformed += !!(out->meta.flags & SAMPLE_MALFORMED);
	stats->chain += !!(out->meta.flags & SAMPLE_CHAIN);
	stats->tunnel_missed[out->meta.tunnel_miss]++;
}

/* The next record. Returns 1, 0 at the end, or -errno. */
static int next(struct capture *capture, struct pcap_pkthdr **header, const __u8 **record)
{
	int code;

	if (capture->plain) {
		*header = &capture->plain_header;
		if (plain_next(capture->plain, *header, record))
			return 1;
		plain_close(capture->plain);
		capture->plain = NULL;
	}
	if (capture->pipe) {
		code = pipe_ready(capture->pipe);
		if (!code)
			return -EAGAIN;
		if (code < 0) {
			snprintf(capture->error, sizeof(capture->error), "%s", strerror(-code));
			return code;
		}
	}
	code = pcap_next_ex(capture->pcap, header, record);
	if (code == 1)
		return 1;
	return code == PCAP_ERROR_BREAK ? 0 : fail(capture);
}

int capture_read(struct capture *capture, struct sample *batch, unsigned int capacity)
{
	struct pcap_pkthdr *header;
	const __u8 *record;
	unsigned int filled = 0, frames;
	__u64 time;
	int code = 0;

	if (capture->pending || capture->at_end)
		return capture->pending;
	if (capture->holds && capacity) {
		capture->holds = false;
		batch[filled++] = capture->held;
	}
	for (frames = 0; filled < capacity; frames++) {
		code = frames < FRAMES_MAX ? next(capture, &header, &record) : -EINTR;
		if (code <= 0)
			break;
		if (!take_frame(capture, header, record)) {
			count_frame(capture);
			continue;
		}
		time = nanoseconds(header);
		if (filled && time > batch[0].meta.time + SPAN_MAX) {
			capture->holds = true;
			capture->before = capture->stats;
			sample_frame(capture, header, time, &capture->held);
			return filled;
		}
		sample_frame(capture, header, time, &batch[filled++]);
	}
	if (code == -EAGAIN || code == -EINTR)
		return filled ? (int)filled : code;
	if (code <= 0 && filled < capacity) {
		capture->at_end = true;
		capture->pending = code;
	}
	return filled ? (int)filled : code;
}

const char *capture_error(const struct capture *capture)
{
	return capture->error;
}

static __u64 position(const struct capture *capture)
{
	long octets;

	if (capture->pipe)
		return 0;
	if (capture->plain)
		return plain_position(capture->plain);
	octets = ftell(pcap_file(capture->pcap));
	return octets < 0 ? 0 : octets;
}

void capture_get_stats(const struct capture *capture, struct capture_stats *out)
{
	*out = capture->holds ? capture->before : capture->stats;
	out->position = position(capture);
}

int capture_fd(const struct capture *capture)
{
	return capture->pipe ? STDIN_FILENO : -1;
}

int capture_is_file(const struct capture *capture)
{
	return capture->regular;
}
