/* Assertions of the native tests: they stay in release builds, unlike assert(3). */
#ifndef XDPFIX_CHECK_H
#define XDPFIX_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

#endif
