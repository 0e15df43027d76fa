/*
 * Which selectors take a packet that the gate took: the main exporter, and the flow rules that accept it, each
 * with its own probability.
 *
 * A set of rules is a word of 64 bits. Each octet of a sample that any rule looks at has a table from its value to
 * the rules that accept it, each port likewise; the rules that match are what all the tables have in common. So
 * the cost goes by the fields in use, and not by the number of rules.
 */
#ifndef XDPFIX_SELECT_H
#define XDPFIX_SELECT_H

#include "maps.h"
#include "random.h"

/* The rules and the exporter that may take a packet. */
struct selectors {
	__u64 rules;
	__u8 main;
};

/*
 * 1 where 64 random bits are below the threshold, else 0: the borrow of their difference. Without a branch, which
 * nobody could predict.
 */
static __always_inline __u64 draw(__u64 *random, __u64 threshold)
{
	__u64 bits = next_random(random);
	__u64 borrow = (~bits & threshold) | ((~bits | threshold) & (bits - threshold));

	OPAQUE(borrow);
	return borrow >> 63;
}

static __always_inline __u64 accepting_ports(__u32 place, __u32 which, __be16 port, __u64 rules)
{
	__u32 entry = place * PORT_TABLES + which;
	const struct port_rules *ports = bpf_map_lookup_elem(MAP(port_rules), &entry);

	return ports ? rules & ports->accepting[BE16(port)] : 0;
}

/* Of these rules, the ones that accept the sample. */
static __always_inline __u64 accepting(const struct rule_tables *tables, __u32 place, const struct sample *sample,
				       __u64 rules)
{
	const __u8 *octets = (const __u8 *)sample;
	__u32 table, offset;

	UNROLL
	for (table = 0; table < RULE_OCTETS; table++) {
		offset = tables->offset[table];
		/* Behind the last table there is RULE_OCTETS_END. */
		if (offset >= sizeof(*sample) || !rules)
			break;
		rules &= tables->accepting[table][octets[offset]];
	}
	if (tables->ports & RULE_SRC_PORT)
		rules = accepting_ports(place, 0, sample->key.src_port, rules);
	if (tables->ports & RULE_DST_PORT)
		rules = accepting_ports(place, 1, sample->key.dst_port, rules);
	return rules;
}

/* Of these rules, the ones that take it: by a draw of their own where they are rarer than the gate. */
static __always_inline __u64 thin(const struct rule_tables *tables, __u64 *random, __u64 rules)
{
	__u64 drawn = rules & tables->thinned;
	__u32 group, rule;

	UNROLL
	for (group = 0; group < RULES_MAX; group += 8) {
		if (!(drawn >> group & 0xff))
			continue;
		UNROLL
		for (rule = group; rule < group + 8; rule++)
			if (drawn >> rule & 1)
				rules ^= (draw(random, tables->threshold[rule]) ^ 1) << rule;
	}
	return rules;
}

/*
 * Ahead of the parser: the rules that look at this gate's packets, into the sample, and whether the main exporter
 * takes it. False: nobody does, whatever the packet holds.
 */
static __always_inline bool select_gate(const struct sampling_config *settings, const struct gate_rules *of,
					__u64 *random, struct selectors *by)
{
	by->rules = of->rules;
	by->main = of->main && (!settings->main_threshold || draw(random, settings->main_threshold));
	return by->rules || by->main;
}

/* Behind it: the rules that take the sample. False: it is nobody's. */
static __always_inline bool select_rules(__u32 place, __u64 *random, struct sample *sample)
{
	const struct rule_tables *tables;
	__u64 rules = sample->meta.rules;

	if (!rules)
		return true;
	tables = bpf_map_lookup_elem(MAP(rule_tables), &place);
	rules = tables ? thin(tables, random, accepting(tables, place, sample, rules)) : 0;
	sample->meta.rules = rules;
	return rules || sample->meta.main;
}

#endif
