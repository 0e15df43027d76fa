/* Datagrams for bench/export.py: a collector that counts what it received, and the path of one record a message. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 256
#define ROOM 2048
#define MESSAGE_HEADER 16
#define SET_HEADER 4
#define FIRST_DATA_SET 256

/* As struct message of the encoder. */
struct message {
	uint32_t offset;
	uint32_t length;
	uint32_t domain;
	uint32_t records;
};

/* What came in; `last` is the time of the last record. */
struct received {
	uint64_t records;
	uint64_t messages;
	uint64_t octets;
	uint64_t last;
	uint64_t malformed;	/* a length does not fit */
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static uint16_t get16(const uint8_t *from)
{
	return from[0] << 8 | from[1];
}

/* Records of one message, by the lengths of its Data Sets. Those of options data are longer sets of other templates. */
static void count(struct received *received, const uint8_t *octets, unsigned int length, unsigned int record_size,
		  unsigned int data_set)
{
	unsigned int at = MESSAGE_HEADER;

	received->messages++;
	received->octets += length;
	if (length < MESSAGE_HEADER || get16(octets + 2) != length) {
		received->malformed++;
		return;
	}
	while (at + SET_HEADER <= length) {
		unsigned int set_length = get16(octets + at + 2);

		if (set_length < SET_HEADER || at + set_length > length) {
			received->malformed++;
			return;
		}
		if (get16(octets + at) == data_set) {
			if ((set_length - SET_HEADER) % record_size)
				received->malformed++;
			received->records += (set_length - SET_HEADER) / record_size;
		}
		at += set_length;
	}
}

/* Receive until there are `expected` records of this Data Set, or nothing comes for the socket's timeout. */
void receive(int fd, unsigned int data_set, unsigned int record_size, uint64_t expected, struct received *received)
{
	static uint8_t room[BATCH][ROOM];
	struct mmsghdr headers[BATCH] = { 0 };
	struct iovec vectors[BATCH];

	for (unsigned int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ room[i], ROOM };
		headers[i].msg_hdr.msg_iov = &vectors[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}
	while (received->records < expected) {
		int n = recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL);

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++)
			count(received, room[i], headers[i].msg_len, record_size, data_set);
		received->last = now();
	}
}

/* A system call a message, as lib/collectors.c of Open vSwitch sends them. Returns how many, or -errno. */
int send_each(int fd, const uint8_t *buffer, const struct message *messages, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (send(fd, buffer + messages[i].offset, messages[i].length, 0) < 0)
			return -errno;
	return count;
}
