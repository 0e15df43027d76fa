/*
 * The perf rings' reader. Samples of a CPU are numbered by its batch's sequence, so
 * each is handed out once, whether it came on the ring or out of a half-filled
 * batch, and a gap in the numbers is a loss, known to the sample.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

/* Wake the reader when 1/4 of a ring is full: late enough to batch, early enough to be scheduled in time. */
#define WATERMARK_SHARE 4

/* A record of ours: perf's header, the length of the raw data, the batch. */
#define RECORD_DATA (sizeof(struct perf_event_header) + sizeof(__u32))

struct cpu_ring {
	int fd;			/* perf event, -1 while the CPU is offline */
	struct perf_event_mmap_page *page;
	__u64 next;		/* number of the first sample not yet accounted for */
	__u64 flushed;		/* samples below it had left the batch at the last peek */
	bool drained;		/* the ring was read to its end since then */
};

struct ring {
	int map_fd;
	int epoll_fd;
	int wake_fd;
	unsigned int cpus;
	size_t data_size;	/* bytes of one ring, a power of two */
	const struct cpu_state *states;
	size_t states_size;
	__u64 received;
	__u64 peeked;
	__u64 lost;
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
	struct epoll_event event = { .events = EPOLLIN };
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

	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++) {
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

int ring_new(struct ring **out, int ring_fd, int cpus_fd, unsigned int pages)
{
	struct epoll_event event = { .events = EPOLLIN };
	int err, cpus = libbpf_num_possible_cpus();
	size_t page_size = sysconf(_SC_PAGESIZE);
	struct ring *ring;
	void *states;

	if (cpus < 0)
		return cpus;
	if (!pages || pages & (pages - 1))
		return -EINVAL;
	ring = calloc(1, sizeof(*ring) + cpus * sizeof(ring->cpu[0]));
	if (!ring)
		return -ENOMEM;
	ring->map_fd = ring_fd;
	ring->cpus = cpus;
	ring->data_size = pages * page_size;
	for (int cpu = 0; cpu < cpus; cpu++)
		ring->cpu[cpu].fd = -1;
	ring->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ring->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->states_size = (cpus * sizeof(struct cpu_state) + page_size - 1) & ~(page_size - 1);
	states = mmap(NULL, ring->states_size, PROT_READ, MAP_SHARED, cpus_fd, 0);
	if (states != MAP_FAILED)
		ring->states = states;
	if (ring->epoll_fd < 0 || ring->wake_fd < 0 || states == MAP_FAILED ||
	    epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, ring->wake_fd, &event)) {
		err = -errno;
		ring_free(ring);
		return err;
	}
	for (int cpu = 0; cpu < cpus; cpu++)
		ring->cpu[cpu].next = ring->states[cpu].batch.sequence;
	err = ring_rescan(ring);
	if (err < 0) {
		ring_free(ring);
		return err;
	}
	*out = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++)
		cpu_ring_close(ring, cpu);
	if (ring->states)
		munmap((void *)ring->states, ring->states_size);
	if (ring->wake_fd >= 0)
		close(ring->wake_fd);
	if (ring->epoll_fd >= 0)
		close(ring->epoll_fd);
	free(ring);
}

/* Wait for at most `timeout` ms: the events that ended it, 0 for none, -errno. */
static int wait_events(struct ring *ring, int timeout)
{
	struct epoll_event events[8];
	__u64 woken;
	int n;

	n = epoll_wait(ring->epoll_fd, events, 8, timeout);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	/* Reading resets the wake-up; it fails when there was none, which is as good. */
	if (n && read(ring->wake_fd, &woken, sizeof(woken)) < 0 && errno != EAGAIN)
		return -errno;
	return n;
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
	int n;

	while ((n = wait_events(ring, timeout < step ? timeout : step)) == 0 && (timeout -= step) > 0)
		if (samples_wait(ring))
			return 1;
	return n < 0 ? n : 0;
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

/* Copy out of a ring's data area, where a record may continue at the start. */
static void copy_wrapped(const struct ring *ring, const struct cpu_ring *c, __u64 from, void *to, size_t size)
{
	const char *data = (const char *)c->page + c->page->data_offset;
	size_t start = from & (ring->data_size - 1);
	size_t first = ring->data_size - start;

	if (first > size)
		first = size;
	memcpy(to, data + start, first);
	memcpy((char *)to + first, data, size - first);
}

/* Account for the batch at `position` of the ring and copy what of it is new. Returns samples copied. */
static unsigned int take_batch(struct ring *ring, struct cpu_ring *c, __u64 position, struct sample *to)
{
	__u64 end, start, from;

	copy_wrapped(ring, c, position, &end, sizeof(end));
	start = end - BATCH_SIZE;
	if (end <= c->next)
		return 0;
	if (start > c->next)
		ring->lost += start - c->next;
	from = start > c->next ? start : c->next;
	copy_wrapped(ring, c, position + offsetof(struct batch, samples) + (from - start) * sizeof(*to), to,
		     (end - from) * sizeof(*to));
	c->next = end;
	return end - from;
}

static unsigned int cpu_ring_read(struct ring *ring, struct cpu_ring *c, struct sample *batch, unsigned int capacity)
{
	__u64 head = __atomic_load_n(&c->page->data_head, __ATOMIC_ACQUIRE);
	__u64 tail = c->page->data_tail;
	struct perf_event_header header;
	unsigned int n = 0;
	__u32 size;

	while (tail < head && n + BATCH_SIZE <= capacity) {
		copy_wrapped(ring, c, tail, &header, sizeof(header));
		if (header.type == PERF_RECORD_SAMPLE) {
			copy_wrapped(ring, c, tail + sizeof(header), &size, sizeof(size));
			if (size >= sizeof(struct batch))
				n += take_batch(ring, c, tail + RECORD_DATA, batch + n);
		}
		/* PERF_RECORD_LOST tells of lost batches; their samples show as a gap in the sequence. */
		tail += header.size;
	}
	__atomic_store_n(&c->page->data_tail, tail, __ATOMIC_RELEASE);
	c->drained |= tail == head;
	return n;
}

unsigned int ring_read(struct ring *ring, struct sample *batch, unsigned int capacity)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ring->cpus; i++) {
		struct cpu_ring *c = &ring->cpu[(ring->cursor + i) % ring->cpus];

		if (c->fd >= 0)
			n += cpu_ring_read(ring, c, batch + n, capacity - n);
	}
	ring->cursor = (ring->cursor + 1) % ring->cpus;
	ring->received += n;
	return n;
}

/*
 * The batch is append-only until its last slot is filled, and slot 0 is written
 * again only after the sequence has passed to the next batch. So:
 * 1. read the sequence, copy the filled slots, read the sequence again;
 * 2. the copy is good if both name the same batch.
 * What had left the batch at the peek before and did not come out of the ring,
 * though that was read to its end since, found no room on it.
 */
static unsigned int cpu_ring_peek(struct ring *ring, struct cpu_ring *c, const struct batch *live, struct sample *to)
{
	__u64 sequence = __atomic_load_n(&live->sequence, __ATOMIC_ACQUIRE);
	__u64 flushed = sequence - sequence % BATCH_SIZE;
	unsigned int n;

	if (c->fd >= 0 && !c->drained)
		return 0;
	c->drained = false;
	if (c->flushed > c->next) {
		ring->lost += c->flushed - c->next;
		c->next = c->flushed;
	}
	c->flushed = flushed;
	if (flushed > c->next || sequence == c->next)
		return 0;
	n = sequence - c->next;
	memcpy(to, &live->samples[c->next % BATCH_SIZE], n * sizeof(*to));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&live->sequence, __ATOMIC_RELAXED) / BATCH_SIZE != sequence / BATCH_SIZE)
		return 0;
	c->next = sequence;
	return n;
}

unsigned int ring_peek(struct ring *ring, struct sample *batch, unsigned int capacity)
{
	unsigned int n = 0;

	for (unsigned int cpu = 0; cpu < ring->cpus && n + BATCH_SIZE <= capacity; cpu++)
		n += cpu_ring_peek(ring, &ring->cpu[cpu], &ring->states[cpu].batch, batch + n);
	ring->received += n;
	ring->peeked += n;
	return n;
}

void ring_get_stats(const struct ring *ring, struct ring_stats *stats)
{
	*stats = (struct ring_stats){
		.received = ring->received,
		.peeked = ring->peeked,
		.lost = ring->lost,
		.cpus = ring->open,
	};
	for (unsigned int cpu = 0; cpu < ring->cpus; cpu++)
		stats->pending += __atomic_load_n(&ring->states[cpu].batch.sequence, __ATOMIC_ACQUIRE) -
				  ring->cpu[cpu].next;
	stats->appended = stats->received + stats->lost + stats->pending;
}
