/*
 * Parses every seed (see parser_fuzz.c) ended at every octet, once as a frame that was so short
 * on the wire and once as one that the capture cut. Arguments: seed files.
 */
#include "check.h"

#define SEED_MAX 4096

int main(int count, char **names)
{
	__u8 seed[SEED_MAX];

	CHECK(count > 1);
	for (int i = 1; i < count; i++) {
		FILE *file = fopen(names[i], "rb");
		size_t size;

		CHECK(file);
		size = fread(seed, 1, sizeof(seed), file);
		fclose(file);
		CHECK(size >= 3);
		for (__u32 captured = 0; captured <= size - 3; captured++) {
			struct sample sample = parse_exact(seed + 3, captured, size - 3, seed[0] & 1);

			/* What was cut by the capture only contradicts no length field. */
			CHECK(!(sample.meta.flags & SAMPLE_MALFORMED));
			parse_exact(seed + 3, captured, captured, seed[0] & 1);
		}
	}
	printf("%d seeds\n", count - 1);
	return 0;
}
