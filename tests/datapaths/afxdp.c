/*
 * An AF_XDP application for tests, started by tests/lib/afxdp.py: takes every frame of a link in place of the stack.
 *
 *	afxdp PROGRAM LINK		counts frames and lets them go
 *	afxdp PROGRAM LINK LINK		sends what comes from one out of the other
 *
 * PROGRAM is afxdp.bpf.c, compiled. It is attached by a BPF link (native, where the driver can), which ends with the
 * process. "ready" on standard output: attached. A line on standard input is answered by one with "received sent" for
 * each link. It ends with its standard input.
 */
#include <errno.h>
#include <error.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define FRAME_SIZE 2048
#define RING_SIZE 1024	/* of all four rings: a power of two */
#define FRAMES (2 * RING_SIZE)	/* the first half is for what comes, the other for what goes */

struct ring {
	uint32_t *producer, *consumer;
	void *entries;
};

struct port {
	int fd;
	uint8_t *frames;
	struct ring receive, transmit, fill, completion;
	uint64_t received, sent;
};

static void check(int result, const char *what)
{
	if (result < 0)
		error(1, errno, "%s", what);
}

/* The program of afxdp.bpf.c, on the link and with the socket in its map. */
static void attach_program(const char *file, int ifindex, int socket)
{
	struct bpf_object *object = bpf_object__open_file(file, NULL);
	struct bpf_program *program;
	uint32_t queue = 0;
	int map;

	if (!object || bpf_object__load(object))
		error(1, errno, "%s", file);
	map = bpf_object__find_map_fd_by_name(object, "sockets");
	check(bpf_map_update_elem(map, &queue, &socket, BPF_ANY), "socket into its map");
	program = bpf_object__find_program_by_name(object, "to_socket");
	if (!bpf_program__attach_xdp(program, ifindex))
		error(1, errno, "attaching the XDP program");
}

static struct ring map_ring(int fd, const struct xdp_ring_offset *offset, off_t where, size_t entry_size)
{
	size_t size = offset->desc + RING_SIZE * entry_size;
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, where);

	if (base == MAP_FAILED)
		error(1, errno, "mmap of a ring");
	return (struct ring){
		.producer = (uint32_t *)(base + offset->producer),
		.consumer = (uint32_t *)(base + offset->consumer),
		.entries = base + offset->desc,
	};
}

/* How many entries of a ring the kernel has put there for us. */
static uint32_t filled(const struct ring *ring)
{
	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer;
}

static void advance(uint32_t *index)
{
	__atomic_store_n(index, *index + 1, __ATOMIC_RELEASE);
}

static void give_back(struct port *port, uint64_t address)
{
	((uint64_t *)port->fill.entries)[*port->fill.producer % RING_SIZE] = address;
	advance(port->fill.producer);
}

static void open_port(struct port *port, const char *program, const char *name)
{
	const int size = RING_SIZE;
	const uint32_t ifindex = if_nametoindex(name);
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_ifindex = ifindex, .sxdp_flags = XDP_COPY };
	struct xdp_umem_reg memory = { .len = FRAMES * FRAME_SIZE, .chunk_size = FRAME_SIZE };
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);

	if (!ifindex)
		error(1, errno, "link %s", name);
	port->frames = mmap(NULL, memory.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (port->frames == MAP_FAILED)
		error(1, errno, "memory for frames");
	memory.addr = (uintptr_t)port->frames;
	port->fd = socket(AF_XDP, SOCK_RAW, 0);
	check(port->fd, "socket(AF_XDP)");
	check(setsockopt(port->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)), "XDP_UMEM_REG");
	check(setsockopt(port->fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)), "fill ring");
	check(setsockopt(port->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)), "completion ring");
	check(setsockopt(port->fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)), "receive ring");
	check(setsockopt(port->fd, SOL_XDP, XDP_TX_RING, &size, sizeof(size)), "transmit ring");
	check(getsockopt(port->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length), "XDP_MMAP_OFFSETS");
	port->receive = map_ring(port->fd, &offsets.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	port->transmit = map_ring(port->fd, &offsets.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	port->fill = map_ring(port->fd, &offsets.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
	port->completion = map_ring(port->fd, &offsets.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t));
	for (uint64_t frame = 0; frame < RING_SIZE; frame++)
		give_back(port, frame * FRAME_SIZE);
	check(bind(port->fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	attach_program(program, (int)ifindex, port->fd);
}

/* Waits for room: what the test counts must not be lost here. */
static void send_frame(struct port *port, const uint8_t *frame, uint32_t length)
{
	struct xdp_desc *descriptor;
	uint64_t address;

	while (*port->transmit.producer - *port->completion.consumer >= RING_SIZE) {
		sendto(port->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
		while (filled(&port->completion))
			advance(port->completion.consumer);
	}
	address = (RING_SIZE + *port->transmit.producer % RING_SIZE) * (uint64_t)FRAME_SIZE;
	memcpy(port->frames + address, frame, length);
	descriptor = &((struct xdp_desc *)port->transmit.entries)[*port->transmit.producer % RING_SIZE];
	*descriptor = (struct xdp_desc){ .addr = address, .len = length };
	advance(port->transmit.producer);
	port->sent++;
}

/* All that has come; `out`: where it goes, NULL: nowhere. */
static void receive(struct port *port, struct port *out)
{
	const struct xdp_desc *descriptor;

	while (filled(&port->receive)) {
		descriptor = &((struct xdp_desc *)port->receive.entries)[*port->receive.consumer % RING_SIZE];
		port->received++;
		if (out)
			send_frame(out, port->frames + descriptor->addr, descriptor->len);
		give_back(port, descriptor->addr - descriptor->addr % FRAME_SIZE);
		advance(port->receive.consumer);
	}
	/* In copy mode the kernel sends what is in the ring only when it is told to, some of it at a time. */
	while (out && *out->transmit.producer != __atomic_load_n(out->transmit.consumer, __ATOMIC_ACQUIRE))
		sendto(out->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

int main(int argc, char **argv)
{
	struct port ports[2] = { 0 };
	struct pollfd polled[3] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	const int count = argc - 2;
	char line[64];

	if (count < 1 || count > 2)
		error(2, 0, "usage: afxdp PROGRAM LINK [LINK]");
	for (int i = 0; i < count; i++) {
		open_port(&ports[i], argv[1], argv[2 + i]);
		polled[1 + i] = (struct pollfd){ .fd = ports[i].fd, .events = POLLIN };
	}
	setlinebuf(stdout);
	puts("ready");
	for (;;) {
		check(poll(polled, 1 + count, -1), "poll");
		for (int i = 0; i < count; i++)
			receive(&ports[i], count == 2 ? &ports[1 - i] : NULL);
		if (!(polled[0].revents & (POLLIN | POLLHUP)))
			continue;
		if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
			return 0;
		for (int i = 0; i < count; i++)
			printf("%s%llu %llu", i ? " " : "", (unsigned long long)ports[i].received,
			       (unsigned long long)ports[i].sent);
		puts("");
	}
}
