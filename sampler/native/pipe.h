/*
 * A pipe that a capture is written into, read ahead: libpcap is called only when a whole
 * record is there, so that a writer's half-flushed record blocks nobody.
 */
#ifndef XDPFIX_PIPE_H
#define XDPFIX_PIPE_H

#include <stdbool.h>
#include <stdio.h>

struct pipe;

/* Reads `fd`, which stays the caller's. */
int pipe_open(struct pipe **out, int fd);
void pipe_close(struct pipe *pipe);

/* A stream over the pipe, for libpcap, to be closed before the pipe. NULL with errno on failure. */
FILE *pipe_stream(struct pipe *pipe);

/*
 * Takes what the pipe holds, without waiting. Returns 1 when the stream can be read up to
 * a packet, or to its end, without waiting; 0 when it cannot; -errno.
 */
int pipe_ready(struct pipe *pipe);

#endif
