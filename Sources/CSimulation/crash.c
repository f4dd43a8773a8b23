// The last words of a process that dies in a world.
#include "world.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS};

static void last_words(int number) {
    static char text[512 * 1024];
    static bool spoken;
    if (sim_here && !__atomic_exchange_n(&spoken, true, __ATOMIC_RELAXED)) {
        uint32_t length = sim_trace_text(sim_here, text, sizeof text);
        if (write(STDERR_FILENO, text, length) < 0) _exit(128 + number);
    }
    // The handler was for once: this time it ends the process.
    raise(number);
}

void sim_trace_at_crash(void) {
    struct sigaction action = {.sa_handler = last_words, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}
