// Sockets, their options and addresses.
#include "system.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

int ct_socket_open(int family, ct_failure *failure) {
    // Blocking: O_NONBLOCK makes some io_uring sends return a spurious EAGAIN, and the engines pass MSG_DONTWAIT where
    // they need it.
    int fd = sys_socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        ct_fail(failure, CT_CALL_SOCKET, errno);
        return -failure->error;
    }
    return fd;
}

int ct_socket_bind(int fd, const ct_address *address, ct_failure *failure) {
    if (sys_bind(fd, (const struct sockaddr *)&address->storage, address->length) == 0) return 0;
    ct_fail(failure, CT_CALL_BIND, errno);
    return -failure->error;
}

int ct_socket_listen(int fd, int backlog, ct_failure *failure) {
    if (sys_listen(fd, backlog) == 0) return 0;
    ct_fail(failure, CT_CALL_LISTEN, errno);
    return -failure->error;
}

// The socket blocks before and after, see ct_socket_open().
int ct_socket_connect_at_once(int fd, const struct sockaddr *address, socklen_t length) {
    int on = 1, off = 0;
    if (sys_ioctl(fd, FIONBIO, &on) < 0) return -errno;
    int result = sys_connect(fd, address, length) == 0 ? 0 : -errno;
    if (sys_ioctl(fd, FIONBIO, &off) < 0 && result == 0) result = -errno;
    return result == -EINTR ? -EAGAIN : result;
}

int ct_socket_set_int(int fd, int level, int name, int value) {
    return sys_setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

int ct_socket_set_linger(int fd, bool on, int seconds) {
    struct linger linger = {.l_onoff = on, .l_linger = seconds};
    return sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0 ? 0 : -errno;
}

int ct_socket_shutdown_output(int fd) { return sys_shutdown(fd, SHUT_WR) == 0 ? 0 : -errno; }

void ct_socket_disconnect(int fd) {
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    sys_connect(fd, &nowhere, sizeof nowhere);
}

void ct_socket_close(int fd) { sys_close(fd); }

bool ct_socket_has_input(int fd) {
    int unread = 0;
    return sys_ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

int ct_socket_take_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

int ct_socket_send(int fd, const struct iovec *vectors, uint32_t count) {
    ssize_t sent = sys_sendmsg(fd, vectors, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 ? (int)sent : -errno;
}

int ct_socket_unsent(int fd) {
    int bytes = 0;
    return sys_ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -errno;
}

int ct_socket_local_address(int fd, ct_address *address) {
    *address = (ct_address){.length = sizeof address->storage};
    return sys_getsockname(fd, (struct sockaddr *)&address->storage, &address->length) == 0 ? 0 : -errno;
}

int ct_socket_peer_address(int fd, ct_address *address) {
    *address = (ct_address){.length = sizeof address->storage};
    return sys_getpeername(fd, (struct sockaddr *)&address->storage, &address->length) == 0 ? 0 : -errno;
}

int ct_address_parse(const char *host, uint16_t port, ct_address *address) {
    *address = (ct_address){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address->length = sizeof *v4;
        return 0;
    }
    char text[INET6_ADDRSTRLEN];
    const char *percent = strchr(host, '%');
    size_t length = percent ? (size_t)(percent - host) : strlen(host);
    if (length >= sizeof text) return -EINVAL;
    memcpy(text, host, length);
    text[length] = 0;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) return -EINVAL;
    if (percent) {
        v6->sin6_scope_id = if_nametoindex(percent + 1);
        if (v6->sin6_scope_id == 0) return -ENODEV;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address->length = sizeof *v6;
    return 0;
}

// A name in the abstract namespace begins with a zero byte and is exactly as long as it is, zeros and all. A path ends
// with a zero byte, which has to fit: the kernel would do without, but hardly anybody who reads the address back.
int ct_address_unix(const char *path, uint32_t length, ct_address *address) {
    *address = (ct_address){0};
    struct sockaddr_un *local = (struct sockaddr_un *)&address->storage;
    if (length == 0) return -EINVAL;
    bool abstract = path[0] == 0;
    if (!abstract && memchr(path, 0, length)) return -EINVAL;
    uint32_t size = length + (abstract ? 0 : 1);
    if (length > size || size > sizeof local->sun_path) return -ENAMETOOLONG;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length);
    address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return 0;
}

int ct_address_resolve(const char *host, uint16_t port, ct_address *addresses, int capacity, int *system_error) {
    if (ct_simulated) {
        *system_error = 0;
        return ct_kernel_here->resolve(host, port, addresses, capacity);
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int result = getaddrinfo(host, service, &hints, &list);
    *system_error = result == EAI_SYSTEM ? errno : 0;
    if (result != 0) return result < 0 ? result : -result;
    int count = 0;
    for (struct addrinfo *entry = list; entry && count < capacity; entry = entry->ai_next) {
        if (entry->ai_addrlen > sizeof addresses[count].storage) continue;
        addresses[count] = (ct_address){.length = entry->ai_addrlen};
        memcpy(&addresses[count].storage, entry->ai_addr, entry->ai_addrlen);
        count++;
    }
    freeaddrinfo(list);
    return count;
}

uint16_t ct_address_port(const ct_address *address) {
    switch (address->storage.ss_family) {
    case AF_INET: return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
    case AF_INET6: return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    default: return 0;
    }
}

static int describe_v6(const struct sockaddr_in6 *v6, char *text, uint32_t capacity) {
    char host[INET6_ADDRSTRLEN] = "";
    char scope[IF_NAMESIZE + 1] = "";
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    if (v6->sin6_scope_id != 0) {
        scope[0] = '%';
        // The interface may be gone: then its number has to do.
        if (!if_indextoname(v6->sin6_scope_id, scope + 1)) snprintf(scope + 1, IF_NAMESIZE, "%u", v6->sin6_scope_id);
    }
    return snprintf(text, capacity, "[%s%s]:%u", host, scope, ntohs(v6->sin6_port));
}

// A zero byte of an abstract name is shown as '@', as in /proc/net/unix.
static int describe_unix(const struct sockaddr_un *local, socklen_t length, char *text, uint32_t capacity) {
    uint32_t prefix = offsetof(struct sockaddr_un, sun_path);
    uint32_t size = length > prefix ? length - prefix : 0;
    if (size > sizeof local->sun_path) size = sizeof local->sun_path;
    bool abstract = size > 0 && local->sun_path[0] == 0;
    char name[sizeof local->sun_path + 1] = "";
    for (uint32_t i = 0; i < size; i++) name[i] = local->sun_path[i] == 0 && abstract ? '@' : local->sun_path[i];
    return snprintf(text, capacity, "unix:%s", name);
}

int ct_address_describe(const ct_address *address, char *text, uint32_t capacity) {
    char host[INET_ADDRSTRLEN] = "";
    int length = 0;
    switch (address->storage.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &((const struct sockaddr_in *)&address->storage)->sin_addr, host, sizeof host);
        length = snprintf(text, capacity, "%s:%u", host, ct_address_port(address));
        break;
    case AF_INET6: length = describe_v6((const struct sockaddr_in6 *)&address->storage, text, capacity); break;
    case AF_UNIX:
        length = describe_unix((const struct sockaddr_un *)&address->storage, address->length, text, capacity);
        break;
    default: length = snprintf(text, capacity, "unknown address family %d", address->storage.ss_family);
    }
    return length < (int)capacity ? length : (int)capacity - 1;
}
