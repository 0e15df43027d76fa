/*
 * The one file that knows who compiles: clang for libbpf, bcc on the host, or cc for
 * user space (the capture reader, tests and fuzzers run the very same parser).
 *
 * bcc rewrites what it takes for its own idioms, so the headers here keep to what all
 * three accept: no globals, no static tables, no subprograms.
 */
#ifndef XDPFIX_COMPAT_H
#define XDPFIX_COMPAT_H

#if defined(SAMPLER_BCC)

#include <uapi/linux/bpf.h>
#include <uapi/linux/pkt_cls.h>
#include "state.h"
#define SEC(name)
#define SAMPLER_KERNEL 1
/* Maps are made by the sampler; bcc gets their descriptors with -Dname_FD=number. */
#define MAP(name) ((void *)bpf_pseudo_fd(BPF_PSEUDO_MAP_FD, name##_FD))
/* What the kernel has comes with -Dname_FEATURE=number. */
#define FEATURE(name) name##_FEATURE

#elif defined(__bpf__)

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include "state.h"
#define SAMPLER_KERNEL 1
#define MAP(name) (&(name))
/* What the kernel has is read-only data that the loader writes before the verifier looks. */
#define FEATURE(name) features.name

#else

#include <stdbool.h>
#include <string.h>
#include "state.h"
#define SAMPLER_KERNEL 0
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#endif

/*
 * In front of every loop: the programs have none. Older kernels (seen: 6.1) refuse a loop whose
 * last block clang happens to put ahead of its first ("back-edge from insn").
 */
#if SAMPLER_KERNEL
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

/*
 * Headers lie at any even address. The BPF back end would load them byte by byte, the
 * verifier allows whole words where the machine does (x86-64, arm64). The words may alias
 * fields of other types, or the compiler would put stores to these before or behind them.
 */
#if SAMPLER_KERNEL
#define WORD_FUNCTIONS(bits) \
	typedef __u##bits __attribute__((may_alias)) word##bits; \
	static __always_inline __u##bits load##bits(const void *from) { return *(const word##bits *)from; } \
	static __always_inline void copy##bits(void *to, const void *from) \
	{ \
		*(word##bits *)to = *(const word##bits *)from; \
	}
#else
#define WORD_FUNCTIONS(bits) \
	static __always_inline __u##bits load##bits(const void *from) \
	{ \
		__u##bits word; \
		memcpy(&word, from, sizeof(word)); \
		return word; \
	} \
	static __always_inline void copy##bits(void *to, const void *from) { memcpy(to, from, bits / 8); }
#endif
WORD_FUNCTIONS(16)
WORD_FUNCTIONS(32)
WORD_FUNCTIONS(64)

/*
 * Hides a number from the compiler. It would drop a mask that it can prove needless by
 * a comparison the verifier has forgotten. Natively there is no verifier.
 */
#if SAMPLER_KERNEL
#define OPAQUE(number) __asm__ volatile("" : "+r"(number))
#else
#define OPAQUE(number) ((void)(number))
#endif

/*
 * Adds one to a counter that other CPUs read, behind all stores before and ahead of all
 * after it. On x86 stores are seen in order; elsewhere an atomic that returns its
 * operand is BPF's one full barrier (on arm64 since Linux 5.18).
 */
#if defined(__x86_64__) || defined(__TARGET_ARCH_x86)
#define PUBLISH(counter) \
	do { \
		__asm__ volatile("" ::: "memory"); \
		*(volatile __u64 *)(counter) += 1; \
		__asm__ volatile("" ::: "memory"); \
	} while (0)
#else
#define PUBLISH(counter) \
	do { \
		__u64 before = __sync_fetch_and_add((counter), 1); \
		OPAQUE(before); \
	} while (0)
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(number) ((__u16)__builtin_bswap16(number))
#define BE32(number) ((__u32)__builtin_bswap32(number))
#define BE64(number) ((__u64)__builtin_bswap64(number))
#else
#define BE16(number) ((__u16)(number))
#define BE32(number) ((__u32)(number))
#define BE64(number) ((__u64)(number))
#endif

#endif
