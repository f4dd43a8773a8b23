#ifndef CKERNELFAULTS_H
#define CKERNELFAULTS_H

#include <stdint.h>

/// The next `count` enters of this thread that hand over requests have at most `most` of them taken, and look at no
/// completions; with none taken they fail with `error`. That is what the kernel does when it has no memory for requests.
void ring_faults_refuse(uint32_t count, uint32_t most, int32_t error);

/// The next `count` enters of this thread that only wait fail with `error` before they look at anything.
void ring_faults_interrupt(uint32_t count, int32_t error);

/// The next enter of this thread that waits reports, when it is over, that completions were dropped (-EBADR).
void ring_faults_lose(void);

/// How many of the faults asked for are still to come; asking for a new one forgets them.
uint32_t ring_faults_left(void);

/// The next `behind` threads that this thread creates are created, the `count` behind them are not: EAGAIN.
void thread_faults_refuse(uint32_t behind, uint32_t count);

/// How many of those are still to come.
uint32_t thread_faults_left(void);

/// How often this process has called listen(2) on an IPv4 socket bound to `port`.
uint32_t listens_on(uint16_t port);

#endif
