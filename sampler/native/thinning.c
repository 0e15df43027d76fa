/* The gate of the BPF programs over one capture: which of its packets are sampled. */
#include <errno.h>
#include <sys/random.h>

#include "gate.h"
#include "thinning.h"

int thinning_init(struct thinning *thinning, const struct sampling_config *config, const struct log2_table *table)
{
	struct thinning made = { .config = *config, .table = *table };

	if (getrandom(&made.random, sizeof(made.random), 0) != sizeof(made.random))
		return -errno;
	*thinning = made;
	gate_draw(&thinning->gate, 0, &thinning->config, &thinning->table, &thinning->random);
	return 0;
}

bool thinning_takes(struct thinning *thinning)
{
	/* Every packet, without a draw: all gaps are one. */
	if (!thinning->config.scale && !thinning->config.nothing)
		return true;
	if (gate_skips(&thinning->gate, 1))
		return false;
	gate_hit(&thinning->gate, 1);
	gate_draw(&thinning->gate, 0, &thinning->config, &thinning->table, &thinning->random);
	return true;
}
