/* Fuzzes the reading of captures (libFuzzer): the input is the file, as it is, on a memory file. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture.h"
#include "check.h"

#define BATCH 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sample batch[BATCH];
	struct capture_stats stats;
	struct capture *capture = NULL;
	char path[32], error[512] = "";
	__u64 samples = 0;
	int fd = memfd_create("capture", 0), count;

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	count = capture_open(&capture, path, error, sizeof(error));
	if (count) {
		CHECK(count < 0 && !capture && error[0]);
	} else {
		while ((count = capture_read(capture, batch, BATCH)) > 0)
			samples += count;
		CHECK(count == 0 || ((count == -ENODATA || count == -EBADMSG) && capture_error(capture)[0]));
		CHECK(capture_read(capture, batch, BATCH) == count);
		capture_get_stats(capture, &stats);
		CHECK(stats.sampled == samples && stats.packets >= samples);
	}
	capture_close(capture);
	close(fd);
	return 0;
}
