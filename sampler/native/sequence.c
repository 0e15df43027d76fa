/* Which numbers of a psample group never came. */
#include "sequence.h"

static bool is_anew(__s64 step, __u32 number)
{
	return step < -SEQUENCE_WINDOW || (step > SEQUENCE_LEAP && number < SEQUENCE_WINDOW);
}

void sequence_see(struct sequence *sequence, __u32 number)
{
	__s64 step = (__s32)(number - sequence->highest);

	if (!sequence->known || is_anew(step, number)) {
		*sequence = (struct sequence){ .known = true, .highest = number, .given = 1, .received = 1 };
		return;
	}
	if (step > 0) {
		sequence->highest = number;
		sequence->given += step;
	}
	sequence->received++;
}

void sequence_excuse(struct sequence *sequence, __u64 lost)
{
	sequence->excused += lost;
}

__u64 sequence_look(struct sequence *sequence)
{
	__u64 accounted = sequence->received + sequence->excused, before = sequence->missing, lost;

	/* More than were given: numbers drawn twice, or losses behind the highest. Both hide a gap, and make none. */
	sequence->missing = sequence->given > accounted ? sequence->given - accounted : 0;
	lost = before < sequence->missing ? before : sequence->missing;
	sequence->excused += lost;
	sequence->missing -= lost;
	return lost;
}
