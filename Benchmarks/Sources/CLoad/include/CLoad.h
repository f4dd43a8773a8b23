// A load generator for TCP echo servers: one thread, epoll, the same for every server.
//
// Each connection sends its own deterministic stream of bytes and every byte that comes back is compared with it.
// A wrong byte, a lost connection or a stall ends the run with an error; nothing is tolerated or retried.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Called as the measured part of a run begins (after the warm-up) and as it ends, on the thread of the load.
typedef void (*cload_window_fn)(void *_Nullable context, bool begins);

typedef struct cload_config {
    const char *host;
    uint16_t port;
    uint32_t connections;
    uint32_t message_bytes;
    /// Messages in flight per connection, at most.
    uint32_t depth;
    uint64_t warm_up_ns;
    uint64_t duration_ns;
    /// Messages a second over all connections. 0: closed loop, every answer starts the next message at once.
    /// Else open loop: latency counts from when the message was due, whether or not it could be sent then.
    double rate;
    cload_window_fn _Nullable window;
    void *_Nullable window_context;
} cload_config;

typedef struct cload_result {
    /// Messages whose last byte came back within the measured window, and how long that window was.
    uint64_t messages;
    uint64_t window_ns;
    /// One latency for each message both started (or due) and finished within the window. Free with cload_result_free.
    uint64_t *_Nullable latencies_ns;
    size_t latency_count;
} cload_result;

/// Runs the load and returns 0, or -1 with a message in `error`. Blocks for warm-up, duration and a short drain.
int cload_run(const cload_config *config, cload_result *result, char *error, size_t error_capacity);

void cload_result_free(cload_result *result);

/// Connections that are opened, used once and held: for measuring what an idle connection costs a server.
typedef struct cload_idle cload_idle;

cload_idle *_Nullable cload_idle_create(const char *host, uint16_t port, uint32_t capacity, uint32_t message_bytes,
                                        char *error, size_t error_capacity);

/// Opens `count` more connections.
int cload_idle_open(cload_idle *idle, uint32_t count, char *error, size_t error_capacity);

/// Sends one message on each connection from `first` (by order of opening) to the last, and checks the echoes.
int cload_idle_echo(cload_idle *idle, uint32_t first, char *error, size_t error_capacity);

/// Resets every connection, so that none of thousands lingers in TIME_WAIT, and frees all.
void cload_idle_destroy(cload_idle *idle);

/// Writes the numbers of the processors the calling thread may use, ascending, and returns how many there are.
uint32_t cload_allowed_processors(uint32_t *numbers, uint32_t capacity);

/// Binds the calling thread, and what it starts from now on. Returns 0 or -errno.
int cload_bind_thread(const uint32_t *numbers, uint32_t count);

/// From now on a signal that ends this process (SIGINT, SIGTERM, SIGHUP) ends that child first; 0 for no child.
void cload_guard_child(int32_t pid);

/// Raises the soft limit of open descriptors to the hard one, also for children, and returns it.
uint64_t cload_raise_descriptor_limit(void);

#pragma clang assume_nonnull end
