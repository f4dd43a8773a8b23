// A function with the name of libc's, which the program finds first: no more threads, at the moment a test chooses.
#include "CKernelFaults.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static _Thread_local uint32_t refused_behind, refused;

void thread_faults_refuse(uint32_t behind, uint32_t count) {
    refused_behind = behind;
    refused = count;
}

uint32_t thread_faults_left(void) { return refused; }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (refused > 0 && refused_behind == 0) {
        refused--;
        return EAGAIN;
    }
    if (refused > 0) refused_behind--;
    if (!real) real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, body, argument);
}
