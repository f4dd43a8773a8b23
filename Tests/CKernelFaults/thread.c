// A function with the name of libc's, which the program finds first: no more threads, at the moment a test chooses.
#include "CKernelFaults.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

typedef int creator(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

// That of a sanitizer, which stands in libc's place and must know of every thread; which name it has depends on its version.
extern creator __interceptor_pthread_create __attribute__((weak));
extern creator ___interceptor_pthread_create __attribute__((weak));

static _Thread_local uint32_t refused_behind, refused;

void thread_faults_refuse(uint32_t behind, uint32_t count) {
    refused_behind = behind;
    refused = count;
}

uint32_t thread_faults_left(void) { return refused; }

static creator *real(void) {
    if (___interceptor_pthread_create) return ___interceptor_pthread_create;
    if (__interceptor_pthread_create) return __interceptor_pthread_create;
    return (creator *)dlsym(RTLD_NEXT, "pthread_create");
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    if (refused > 0 && refused_behind == 0) {
        refused--;
        return EAGAIN;
    }
    if (refused > 0) refused_behind--;
    return real()(thread, attributes, body, argument);
}
