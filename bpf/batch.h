/*
 * From a taken packet to the perf ring: the sample budget, the busy mark, the batch of
 * this CPU, and a counter for every way in which a sample can end.
 */
#ifndef XDPFIX_BATCH_H
#define XDPFIX_BATCH_H

#include "maps.h"

#define SECOND 1000000000ull

static __always_inline void count(struct cpu_state *cpu, enum kernel_counter counter, __u32 packets)
{
	cpu->samples[counter] += 1;
	cpu->packets[counter] += packets;
}

/* Whether this CPU has its samples of this second. Those that nobody selects do not count. */
static __always_inline bool over_budget(struct cpu_state *cpu, const struct sampling_config *settings, __u64 now)
{
	if (now - cpu->window_start >= SECOND) {
		cpu->window_start = now;
		cpu->window_samples = 0;
	}
	return settings->budget && cpu->window_samples >= settings->budget;
}

/*
 * Whether a taken packet gets a sample. Else it is lost: over the budget, or in an interrupt of a program that is
 * filling one. The busy mark stands until batch_release, batch_abandon or batch_append.
 */
static __always_inline bool batch_admit(struct cpu_state *cpu, const struct sampling_config *settings, __u64 now,
					__u32 packets)
{
	count(cpu, KERNEL_SELECTED, packets);
	if (cpu->busy) {
		count(cpu, KERNEL_LOST_NESTED, packets);
		return false;
	}
	if (over_budget(cpu, settings, now)) {
		count(cpu, KERNEL_LOST_BUDGET, packets);
		return false;
	}
	*(volatile __u32 *)&cpu->busy = 1;
	return true;
}

/* The place of the next sample. */
static __always_inline struct sample *batch_slot(struct cpu_state *cpu)
{
	__u64 slot = cpu->batch.sequence;

	OPAQUE(slot);
	return &cpu->batch.samples[slot & (BATCH_SIZE - 1)];
}

/* The place of a sample that was admitted and filled elsewhere, or NULL where it is lost. Ends with batch_append. */
static __always_inline struct sample *batch_resume(struct cpu_state *cpu)
{
	if (cpu->busy) {
		count(cpu, KERNEL_LOST_NESTED, 1);
		return 0;
	}
	*(volatile __u32 *)&cpu->busy = 1;
	return batch_slot(cpu);
}

/* A taken packet that needs no sample to know that nobody selects it. */
static __always_inline void batch_pass(struct cpu_state *cpu, __u32 packets)
{
	count(cpu, KERNEL_SELECTED, packets);
	count(cpu, KERNEL_UNSELECTED, packets);
}

static __always_inline void batch_release(struct cpu_state *cpu)
{
	*(volatile __u32 *)&cpu->busy = 0;
}

static __always_inline void batch_abandon(struct cpu_state *cpu, enum kernel_counter cause, __u32 packets)
{
	count(cpu, cause, packets);
	batch_release(cpu);
}

static __always_inline void count_flags(struct cpu_state *cpu, const struct sample *sample, __u32 packets)
{
	__u32 miss = sample->meta.tunnel_miss;

	if (miss) {
		OPAQUE(miss);
		count(cpu, KERNEL_CHAIN + (miss & (TUNNEL_MISSES - 1)), packets);
	}
	if (!sample->meta.flags)
		return;
	if (sample->meta.flags & SAMPLE_TRUNCATED)
		count(cpu, KERNEL_TRUNCATED, packets);
	if (sample->meta.flags & SAMPLE_MALFORMED)
		count(cpu, KERNEL_MALFORMED, packets);
	if (sample->meta.flags & SAMPLE_CHAIN)
		count(cpu, KERNEL_CHAIN, packets);
}

/* All of it, though user space may have peeked at some. The reader knows exactly what it lost: struct ring_stats. */
static __always_inline void count_lost_batch(struct cpu_state *cpu)
{
	cpu->samples[KERNEL_LOST_RING] += BATCH_SIZE;
	cpu->packets[KERNEL_LOST_RING] += cpu->packets[KERNEL_APPENDED] - cpu->packets_before;
}

/* The batch is full: the next sample begins another. */
static __always_inline void batch_flush(void *ctx, struct cpu_state *cpu)
{
	if (bpf_perf_event_output(ctx, MAP(ring), BPF_F_CURRENT_CPU, &cpu->batch, sizeof(cpu->batch)))
		count_lost_batch(cpu);
	cpu->packets_before = cpu->packets[KERNEL_APPENDED];
}

/* Publishes the filled sample to readers of `cpus`, and the batch to the ring when it is full. */
static __always_inline void batch_append(void *ctx, struct cpu_state *cpu, const struct sample *sample, __u32 packets)
{
	count_flags(cpu, sample, packets);
	count(cpu, KERNEL_APPENDED, packets);
	cpu->window_samples++;
	PUBLISH(&cpu->batch.sequence);
	if (cpu->batch.sequence % BATCH_SIZE == 0)
		batch_flush(ctx, cpu);
	batch_release(cpu);
}

#endif
