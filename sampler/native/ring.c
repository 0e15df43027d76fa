/* The perf rings of all CPUs: opened, followed and read in turn. What reading one takes is in cpuring.c. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpuring.h"
#include "ring.h"

/* Wake the reader when 1/8 of a ring is full: late enough to batch, early enough to be scheduled in time. */
#define WATERMARK_SHARE 8

/* What ended an epoll_wait: a ring, or anything else, whose event has no data. */
#define EVENT_OF_RING 1

struct ring {
	int map_fd;		/* -1: over memory, no kernel's */
	int epoll_fd;
	int wake_fd;
	unsigned int cpus;
	size_t data_size;	/* bytes of one ring, a power of two */
	const struct cpu_state *states;
	size_t states_size;
	__u64 received;
	__u64 peeked;
	__u64 open;
	unsigned int cursor;	/* CPU to read first, so that none starves */
	struct cpu_ring cpu[];
};

static int cpu_ring_open(struct ring *ring, unsigned int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.watermark = 1,
		.wakeup_watermark = ring->data_size / WATERMARK_SHARE,
	};
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = EVENT_OF_RING };
	struct cpu_ring *c = &ring->cpu[cpu];
	size_t size = ring->data_size + sysconf(_SC_PAGESIZE);
	void *page;
	int fd, err;

	fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		err = -errno;
		close(fd);
		return err;
	}
	if (bpf_map_update_elem(ring->map_fd, &cpu, &fd, BPF_ANY) ||
	    epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, fd, &event) ||
	    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) {
		err = -errno;
		/* The map holds the event too: without this, samples would go where nobody reads. */
		bpf_map_delete_elem(ring->map_fd, &cpu);
		munmap(page, size);
		close(fd);
		return err;
	}
	c->fd = fd;
	c->page = page;
	ring->open++;
	return 0;
}

static void cpu_ring_close(struct ring *ring, unsigned int cpu)
{
	struct cpu_ring *c = &ring->cpu[cpu];

	if (c->fd < 0)
		return;
	bpf_map_delete_elem(ring->map_fd, &cpu);
	munmap(c->page, ring->data_size + sysconf(_SC_PAGESIZE));
	close(c->fd);
	c->fd = -1;
	c->page = NULL;
	ring->open--;
}

static bool cpu_is_online(unsigned int cpu)
{
	char path[64], online = '1';
	int fd;

	/* CPU 0 often has no such file: it cannot go. */
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, &online, 1) != 1)
			online = '0';
		close(fd);
	}
	return online == '1';
}

int ring_rescan(struct ring *ring)
{
	int opened = 0, err;

	for (unsigned int cpu = 0; cpu < ring->cpus && ring->map_fd >= 0; cpu++) {
		bool online = cpu_is_online(cpu);

		if (online && ring->cpu[cpu].fd < 0) {
			err = cpu_ring_open(ring, cpu);
			if (err == -ENODEV)	/* possible, but not there */
				continue;
			if (err)
				return err;
			opened++;
		} else if (!online) {
			cpu_ring_close(ring, cpu);
		}
	}
	return opened;
}

/* All but the rings themselves. */
static int ring_alloc(struct ring **out, unsigned int cpus, unsigned int pages)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct ring *ring;
	int err;

	if (!pages || pages & (pages - 1))
		return -EINVAL;
	ring = calloc(1, sizeof(*ring) + cpus * sizeof(ring->cpu[0]));
	if (!ring)
		return -ENOMEM;
	ring->map_fd = -1;
	ring->cpus = cpus;
	ring->data_size = pages * sysconf(_SC_PAGESIZE);
	for (unsigned int cpu = 0; cpu < cpus; cpu++)
		ring->cpu[cpu].fd = -1;
	ring->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ring->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->epoll_fd < 0 || ring->wake_fd < 0 ||
	    epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, ring->wake_fd, &event)) {
		err = -errno;
		ring_free(ring);
		return err;
	}
	*out = ring;
	return 0;
}

static void ring_set_states(struct ring *ring, const struct cpu_state *states)
{
	ring->states = states;
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++)
		ring->cpu[cpu].next = states[cpu].batch.sequence;
}

int ring_new(struct ring **out, int ring_fd, int cpus_fd, unsigned int pages)
{
	int err, cpus = libbpf_num_possible_cpus();
	size_t page_size = sysconf(_SC_PAGESIZE);
	struct ring *ring;
	void *states;

	if (cpus < 0)
		return cpus;
	err = ring_alloc(&ring, cpus, pages);
	if (err)
		return err;
	ring->map_fd = ring_fd;
	ring->states_size = (cpus * sizeof(struct cpu_state) + page_size - 1) & ~(page_size - 1);
	states = mmap(NULL, ring->states_size, PROT_READ, MAP_SHARED, cpus_fd, 0);
	if (states == MAP_FAILED) {
		err = -errno;
		ring_free(ring);
		return err;
	}
	ring_set_states(ring, states);
	err = ring_rescan(ring);
	if (err < 0) {
		ring_free(ring);
		return err;
	}
	*out = ring;
	return 0;
}

int ring_over(struct ring **out, void *const *rings, unsigned int count, unsigned int pages,
	      const struct cpu_state *states)
{
	struct ring *ring;
	int err = ring_alloc(&ring, count, pages);

	if (err)
		return err;
	for (unsigned int i = 0; i < count; i++)
		ring->cpu[i].page = rings[i];
	ring->open = count;
	ring_set_states(ring, states);
	*out = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++)
		cpu_ring_close(ring, cpu);
	if (ring->states_size && ring->states)
		munmap((void *)ring->states, ring->states_size);
	if (ring->wake_fd >= 0)
		close(ring->wake_fd);
	if (ring->epoll_fd >= 0)
		close(ring->epoll_fd);
	free(ring);
}

/* Wait for at most `timeout` ms. Returns an enum ring_end but RING_SAMPLES, or -errno. */
static int wait_events(struct ring *ring, int timeout)
{
	struct epoll_event events[8];
	bool other = false;
	__u64 woken;
	int n;

	n = epoll_wait(ring->epoll_fd, events, 8, timeout);
	if (n < 0)
		return errno == EINTR ? RING_TIME : -errno;
	for (int i = 0; i < n; i++)
		other |= events[i].data.u32 != EVENT_OF_RING;
	/* Reading resets the wake-up; it fails when there was none, which is as good. */
	if (other && read(ring->wake_fd, &woken, sizeof(woken)) < 0 && errno != EAGAIN)
		return -errno;
	return other ? RING_CALLED : n ? RING_READY : RING_TIME;
}

static bool samples_wait(const struct ring *ring)
{
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++)
		if (__atomic_load_n(&ring->states[cpu].batch.sequence, __ATOMIC_RELAXED) != ring->cpu[cpu].next)
			return true;
	return false;
}

int ring_rest(struct ring *ring, int timeout, int step)
{
	int ended;

	while ((ended = wait_events(ring, timeout < step ? timeout : step)) == RING_TIME && (timeout -= step) > 0)
		if (samples_wait(ring))
			return RING_SAMPLES;
	return ended;
}

int ring_poll(struct ring *ring, int timeout)
{
	return ring_rest(ring, timeout, INT_MAX);
}

int ring_watch(struct ring *ring, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };

	return epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int ring_rearm(struct ring *ring, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };

	return epoll_ctl(ring->epoll_fd, EPOLL_CTL_MOD, fd, &event) ? -errno : 0;
}

int ring_unwatch(struct ring *ring, int fd)
{
	return epoll_ctl(ring->epoll_fd, EPOLL_CTL_DEL, fd, NULL) ? -errno : 0;
}

void ring_wake(struct ring *ring)
{
	__u64 one = 1;

	/* It fails only when the counter is full, that is, when a wake-up is pending already. */
	if (write(ring->wake_fd, &one, sizeof(one)) < 0)
		return;
}

unsigned int ring_read(struct ring *ring, struct sample *batch, unsigned int capacity)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ring->cpus; i++) {
		struct cpu_ring *c = &ring->cpu[(ring->cursor + i) % ring->cpus];

		if (c->page)
			n += cpu_ring_read(c, ring->data_size, batch + n, capacity - n);
	}
	ring->cursor = (ring->cursor + 1) % ring->cpus;
	ring->received += n;
	return n;
}

unsigned int ring_peek(struct ring *ring, struct sample *batch, unsigned int capacity)
{
	unsigned int n = 0;

	for (unsigned int cpu = 0; cpu < ring->cpus && n + BATCH_SIZE <= capacity; cpu++)
		n += cpu_ring_peek(&ring->cpu[cpu], &ring->states[cpu].batch, batch + n);
	ring->received += n;
	ring->peeked += n;
	return n;
}

void ring_get_stats(const struct ring *ring, struct ring_stats *stats)
{
	*stats = (struct ring_stats){
		.received = ring->received,
		.peeked = ring->peeked,
		.cpus = ring->open,
	};
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++) {
		stats->lost += ring->cpu[cpu].lost;
		stats->pending += __atomic_load_n(&ring->states[cpu].batch.sequence, __ATOMIC_ACQUIRE) -
				  ring->cpu[cpu].next;
	}
	stats->appended = stats->received + stats->lost + stats->pending;
}
