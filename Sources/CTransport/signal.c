// Signals that ask the process to stop, as numbers in a descriptor.
#include "internal.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int signal_events = -1;

// May interrupt anything, so it does nothing but this. write(2) is allowed, and adds: both signals may have come often before
// anybody reads.
static void note_signal(int number) {
    int before = errno;
    uint64_t one = number == SIGINT ? CT_SIGNAL_INTERRUPT : CT_SIGNAL_TERMINATE;
    ssize_t written = write(signal_events, &one, sizeof one);
    (void)written;
    errno = before;
}

int ct_signal_catch(void) {
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) return -errno;
    signal_events = fd;
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0) return -errno;
    return fd;
}
