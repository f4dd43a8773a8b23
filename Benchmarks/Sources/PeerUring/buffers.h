// Receive memory: buffers the kernel picks from a shared ring and we send from, without a copy in between.
//
// A buffer is counted: once while the kernel may fill it, and once for every piece of it that waits to be sent.
// It goes back to the ring when the count reaches zero.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { BUFFER_GROUP = 1 };

void buffers_open(void);

/// The bytes a completion says were received, and the buffer they are in. The caller gets one count of the buffer.
char *buffers_take(uint32_t completion_flags, uint32_t length, uint16_t *buffer);

/// Gives back one count.
void buffers_release(uint16_t buffer);

/// Lends more to the kernel from now on: what it had was used up before we could return any.
void buffers_grow(void);

/// Lends free buffers to the kernel, and says how many it has now.
unsigned buffers_refill(void);

/// How many buffers the kernel has.
unsigned buffers_lent(void);
