/*
 * Random numbers for the gates and for the selectors' draws. The state is a word of each CPU's own, which user space
 * seeds: the kernel's bpf_get_prandom_u32 costs 18 ns for half as many bits, this one 2.
 */
#ifndef XDPFIX_RANDOM_H
#define XDPFIX_RANDOM_H

#include "compat.h"

/* 64 bits by SplitMix64 (Steele, Lea, Flood 2014): one word of state, equidistributed. */
static __always_inline __u64 next_random(__u64 *state)
{
	__u64 word = *state += 0x9e3779b97f4a7c15;

	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
	word = (word ^ word >> 27) * 0x94d049bb133111eb;
	return word ^ word >> 31;
}

#endif
