/*
 * The gate: which packets are taken. A skip counter that is drawn geometrically makes
 * the law Bernoulli(p) for each wire packet, and a packet that is not taken costs one
 * subtraction.
 */
#ifndef XDPFIX_GATE_H
#define XDPFIX_GATE_H

#include "random.h"

#define GAP_ENDLESS (1ull << 63)

/* The upper 64 bits of a product. BPF multiplies 64 bits to 64. */
static __always_inline __u64 multiply_high(__u64 a, __u64 b)
{
	__u64 a_low = a & 0xffffffff, a_high = a >> 32, b_low = b & 0xffffffff, b_high = b >> 32;
	__u64 middle = a_high * b_low + (a_low * b_low >> 32);
	__u64 carry = a_low * b_high + (middle & 0xffffffff);

	return a_high * b_high + (middle >> 32) + (carry >> 32);
}

/* Shifts `bits` leading zeros out of a word, if it has so many, without a branch for the verifier to follow. */
static __always_inline void normalize(__u64 *word, __u64 *zeros, __u32 bits)
{
	__u64 borrow = (*word >> (64 - bits)) - 1;

	OPAQUE(borrow);
	borrow = (borrow >> 63) * bits;
	*word <<= borrow;
	*zeros += borrow;
}

/*
 * A geometric variate from 64 random bits: packets up to and including the next one to
 * take. Inverts the law: 1 + floor(-log2(U) * scale), U = random / 2^64. The interpolated
 * table is short of log2 by at most 1.8e-7, which moves the mean by less than 1e-7.
 */
static __always_inline __u64 geometric(const struct log2_table *table, __u64 scale, __u64 random)
{
	__u64 mantissa = random | 1, zeros = 0, index, logarithm, negative;

	normalize(&mantissa, &zeros, 32);
	normalize(&mantissa, &zeros, 16);
	normalize(&mantissa, &zeros, 8);
	normalize(&mantissa, &zeros, 4);
	normalize(&mantissa, &zeros, 2);
	normalize(&mantissa, &zeros, 1);
	/* Behind the leading one: 10 bits of index, 53 bits between the table's entries. */
	index = (mantissa >> 53) & (LOG2_STEPS - 1);
	logarithm = table->value[index];
	logarithm += multiply_high(table->value[index + 1] - logarithm, mantissa << 11);
	/* 7.57 fixed point: up to 64 leading zeros. */
	negative = ((zeros + 1) << 57) - (logarithm >> 6);
	return 1 + (multiply_high(negative, scale) >> (57 + 32 - 64));
}

/* Packets up to and including the next one to take. Where all or none are taken, nothing is left to chance. */
static __always_inline __u64 next_gap(const struct sampling_config *settings, const struct log2_table *table,
				      __u64 *random)
{
	if (settings->nothing)
		return GAP_ENDLESS;
	if (!settings->scale)
		return 1;
	return geometric(table, settings->scale, next_random(random));
}

/* In this order, for who reads the gate meanwhile. */
#define GATE_SET(field, value) (*(volatile __u64 *)&gate->field = (value))

/*
 * Draws the next gap by this selection. What is left of a gap that another one drew is thrown away:
 * geometric gaps have no memory. Packets observed stay as they are.
 */
static __always_inline void gate_draw(struct gate *gate, __u32 selection, const struct sampling_config *settings,
				      const struct log2_table *table, __u64 *random)
{
	__u64 gap = next_gap(settings, table, random), left = gate->skip;

	gate->selection = selection;
	GATE_SET(skip, 0);
	GATE_SET(drawn, gate->drawn + gap - left);
	GATE_SET(skip, gap);
}

/* Takes one of an skb's packets: the gap ends there. */
static __always_inline void gate_hit(struct gate *gate, __u64 segments)
{
	__u64 left = gate->skip;

	GATE_SET(skip, 0);
	GATE_SET(behind, gate->behind + segments - left);
}

/* Whether the gap was drawn by this selection. */
static __always_inline bool gate_is_of(const struct gate *gate, __u32 selection)
{
	return gate->selection == (__u16)selection;
}

/* Whether none of an skb's packets is the one to take; then they are counted off. */
static __always_inline bool gate_skips(struct gate *gate, __u64 segments)
{
	__u64 skip = gate->skip;

	if (skip <= segments)
		return false;
	gate->skip = skip - segments;
	return true;
}

#endif
