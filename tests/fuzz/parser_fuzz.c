/*
 * Fuzzes the parser (libFuzzer). Input: one octet of which bit 0 says that the frame has no
 * Ethernet header, two of what the capture cut off its end, then the frame. Bits 1 to 7 of
 * the first are the segments, less one, of a super-packet; the two are their size then.
 */
#include <stdint.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	__u32 l3, cut, captured, segments;

	if (size < 3)
		return 0;
	l3 = data[0] & 1;
	cut = data[1] | data[2] << 8;
	captured = size - 3;
	segments = 1 + (data[0] >> 1);
	if (segments > 1)
		parse_segments(data + 3, captured, captured, l3, segments, cut);
	else
		parse_exact(data + 3, captured, captured + cut, l3);
	return 0;
}
