/* Sending in C, for the sanitizers: each message is a datagram of its own, whatever the kernel takes at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "send.h"

#define MESSAGES 200
#define RECORDS 3

static __u8 buffer[MESSAGES * 1500];

static void open_pair(int *from, int *to)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int room = 8 << 20;

	*to = socket(AF_INET, SOCK_DGRAM, 0);
	*from = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CHECK(*to >= 0 && *from >= 0);
	setsockopt(*to, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	CHECK(!bind(*to, (struct sockaddr *)&address, sizeof(address)));
	CHECK(!getsockname(*to, (struct sockaddr *)&address, &length));
	CHECK(!connect(*from, (struct sockaddr *)&address, length));
}

/* Messages one behind the other, of the sizes that `sizes` repeats; each begins with its number. */
static unsigned int make(struct message *messages, const __u32 *sizes, unsigned int size_count, unsigned int count)
{
	__u32 offset = 0;

	for (unsigned int i = 0; i < count; i++) {
		messages[i] = (struct message){ .offset = offset, .length = sizes[i % size_count], .records = RECORDS };
		memset(buffer + offset, i, messages[i].length);
		offset += messages[i].length;
	}
	return count;
}

static void expect(int to, const struct message *messages, unsigned int count)
{
	static __u8 octets[65536];

	for (unsigned int i = 0; i < count; i++) {
		CHECK(recv(to, octets, sizeof(octets), MSG_DONTWAIT) == (ssize_t)messages[i].length);
		CHECK(!memcmp(octets, buffer + messages[i].offset, messages[i].length));
	}
	CHECK(recv(to, octets, sizeof(octets), MSG_DONTWAIT) < 0);
}

/* `cut`: whether the kernel cuts what it gets in one piece; a socket without checksums it refuses to. */
static void test_datagrams(const __u32 *sizes, unsigned int size_count, unsigned int count, int cut)
{
	struct message messages[MESSAGES];
	struct sent sent;
	int from, to, one = 1;

	open_pair(&from, &to);
	CHECK(cut || !setsockopt(from, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)));
	make(messages, sizes, size_count, count);
	CHECK(!send_messages(from, buffer, messages, count, &sent));
	CHECK(sent.messages == count && sent.records == RECORDS * count);
	expect(to, messages, count);
	close(from);
	close(to);
}

/* Not one behind the other in memory: each by itself. */
static void test_gaps(void)
{
	struct message messages[3] = { { 0, 100, 0, 1 }, { 200, 100, 0, 1 }, { 300, 100, 0, 1 } };
	struct sent sent;
	int from, to;

	open_pair(&from, &to);
	memset(buffer, 1, 500);
	memset(buffer + 200, 2, 100);
	CHECK(!send_messages(from, buffer, messages, 3, &sent) && sent.messages == 3 && sent.records == 3);
	expect(to, messages, 3);
	close(from);
	close(to);
}

/* What cannot go is told with its own error, and what went before is counted. */
static void test_errors(void)
{
	static const __u32 sizes[] = { 1400 };
	struct message messages[MESSAGES];
	struct sent sent;
	int from, to;

	open_pair(&from, &to);
	make(messages, sizes, 1, 3);
	messages[2].length = 70000;
	CHECK(send_messages(from, buffer, messages, 3, &sent) == -EMSGSIZE);
	CHECK(sent.messages == 2 && sent.records == 2 * RECORDS);
	expect(to, messages, 2);
	close(to);
	make(messages, sizes, 1, 3);
	CHECK(!send_messages(from, buffer, messages, 1, &sent) && sent.messages == 1);
	CHECK(send_messages(from, buffer, messages, 3, &sent) == -ECONNREFUSED && sent.messages == 0);
	close(from);
}

int main(void)
{
	static const __u32 same[] = { 1400 }, shorter[] = { 1400, 1400, 1400, 600 }, longer[] = { 600, 1400 };
	static const __u32 small[] = { 20 };

	for (int cut = 0; cut < 2; cut++) {
		test_datagrams(same, 1, 1, cut);
		test_datagrams(same, 1, MESSAGES, cut);
		test_datagrams(shorter, 4, MESSAGES, cut);
		test_datagrams(longer, 2, MESSAGES, cut);
		test_datagrams(small, 1, MESSAGES, cut);
	}
	test_gaps();
	test_errors();
	return 0;
}
