// Sockets as programs see them: the system calls. What goes over the network is tcp.c's.
#include "world.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#define SIM_SEND_BUFFER (256u * 1024)
#define SIM_RECEIVE_BUFFER (128u * 1024)
#define SIM_BUFFER_LEAST 4608u
#define SIM_PORT_FIRST 32768u
#define SIM_PORT_LAST 60999u

static int fail(int error) {
    errno = error;
    return -1;
}

// As `fail`, and tells it; 0 and more are told as `outcome`.
static int told(sim_operation operation, int result, int outcome) {
    sim_told_result(sim_here, operation, result, outcome);
    return result < 0 ? fail(-result) : result;
}

// -------------------------------------------------------------------------------------------------- the table of sockets

sim_socket *sim_socket_at(sim_world *world, sim_handle handle) {
    if (handle.index == 0 || handle.index > world->socket_count) return NULL;
    return world->generations[handle.index - 1] == handle.generation ? world->sockets[handle.index - 1] : NULL;
}

sim_socket *sim_socket_create(sim_world *world, sim_host host) {
    sim_socket *socket = sim_calloc(1, sizeof *socket);
    uint32_t index = 0;
    if (world->free_socket_count > 0) {
        index = world->free_sockets[--world->free_socket_count];
    } else {
        uint32_t capacity = world->socket_capacity;
        if (!socket || !sim_grow(&world->generations, &capacity, world->socket_count + 1, sizeof *world->generations) ||
            !sim_grow(&world->sockets, &world->socket_capacity, world->socket_count + 1, sizeof *world->sockets)) {
            sim_free(socket);
            return NULL;
        }
        index = world->socket_count++;
    }
    if (!socket) return NULL;
    world->sockets[index] = socket;
    socket->self = (sim_handle){index + 1, world->generations[index]};
    socket->file.kind = SIM_SOCKET;
    socket->file.host = host;
    socket->file.fd = -1;
    socket->send_buffer = SIM_SEND_BUFFER;
    socket->receive_buffer = SIM_RECEIVE_BUFFER;
    return socket;
}

void sim_socket_free(sim_world *world, sim_socket *socket) {
    uint32_t index = socket->self.index - 1;
    if (socket->state == SIM_CONNECTED) world->machines[socket->file.host].connections--;
    sim_tcp_stop_timer(world, socket);
    sim_segments_free(world, socket);
    while (socket->pieces) {
        sim_piece *piece = socket->pieces;
        socket->pieces = piece->next;
        sim_free(piece);
    }
    world->sockets[index] = NULL;
    world->generations[index]++;
    if (sim_grow(&world->free_sockets, &world->free_socket_capacity, world->free_socket_count + 1, sizeof *world->free_sockets))
        world->free_sockets[world->free_socket_count++] = index;
    sim_free(socket);
}

// ------------------------------------------------------------------------------------------------------------ readiness

uint32_t sim_socket_room(const sim_socket *socket) {
    uint64_t used = socket->written - socket->acknowledged;
    return used < socket->send_buffer ? (uint32_t)(socket->send_buffer - used) : 0;
}

static bool is_readable(const sim_socket *socket) {
    if (socket->state == SIM_LISTENING) return socket->queue_head != NULL;
    return socket->unread > 0 || socket->input_over || socket->input_shut || socket->error || socket->state == SIM_DEAD;
}

uint32_t sim_socket_readiness(const sim_socket *socket) {
    uint32_t bits = is_readable(socket) ? EPOLLIN : 0;
    if (socket->state == SIM_LISTENING) return bits;
    bool dead = socket->state == SIM_DEAD;
    bool over = dead || socket->input_over || socket->input_shut;
    if (over) bits |= EPOLLRDHUP | EPOLLIN;
    if (dead || (over && socket->output_shut) || socket->state == SIM_NEW) bits |= EPOLLHUP;
    if (socket->error) bits |= EPOLLERR;
    bool connected = socket->state == SIM_CONNECTED;
    if (dead || socket->output_shut || socket->state == SIM_NEW || (connected && sim_socket_room(socket) > socket->send_buffer / 3))
        bits |= EPOLLOUT;
    return bits;
}

int sim_socket_take_error(sim_socket *socket) {
    int error = socket->error;
    socket->error = 0;
    return error;
}

// ---------------------------------------------------------------------------------------------------------------- bytes

int64_t sim_socket_receive(sim_world *world, sim_socket *socket, void *memory, size_t length) {
    if (socket->unread == 0) {
        if (socket->input_over) return 0;
        if (socket->error) return -sim_socket_take_error(socket);
        if (socket->input_shut || socket->state == SIM_DEAD) return 0;
        return socket->state == SIM_CONNECTED ? -EAGAIN : -ENOTCONN;
    }
    size_t taken = 0;
    while (taken < length && socket->pieces) {
        sim_piece *piece = socket->pieces;
        uint32_t part = piece->length - piece->offset;
        if (part > length - taken) part = (uint32_t)(length - taken);
        if (memory) memcpy((uint8_t *)memory + taken, piece->bytes + piece->offset, part);
        taken += part;
        piece->offset += part;
        if (piece->offset < piece->length) break;
        socket->pieces = piece->next;
        if (!socket->pieces) socket->last_piece = NULL;
        sim_free(piece);
    }
    socket->unread -= (uint32_t)taken;
    sim_trace(world, SIM_T_RECEIVE, sim_number(socket->file.fd), (int64_t)taken);
    sim_tcp_read(world, socket);
    return (int64_t)taken;
}

static bool append_segment(sim_socket *socket, const struct iovec *vector, uint32_t length, sim_notification *notification) {
    sim_segment *segment = sim_malloc(sizeof *segment + (notification ? 0 : length));
    if (!segment) return false;
    *segment = (sim_segment){.from = socket->written, .length = length, .notification = notification};
    if (notification) {
        notification->references++;
        segment->bytes = vector->iov_base;
    } else {
        segment->bytes = (const uint8_t *)(segment + 1);
        memcpy(segment + 1, vector->iov_base, length);
    }
    if (socket->last_segment) socket->last_segment->next = segment;
    else socket->segments = segment;
    socket->last_segment = segment;
    socket->written += length;
    return true;
}

bool sim_is_all(int64_t taken, const struct iovec *vectors, size_t count) {
    uint64_t length = 0;
    for (size_t i = 0; i < count; i++) length += vectors[i].iov_len;
    return taken == (int64_t)length;
}

int64_t sim_socket_send(sim_world *world, sim_socket *socket, const struct iovec *vectors, size_t count,
                        sim_notification *notification) {
    if (socket->error) return -sim_socket_take_error(socket);
    if (socket->output_shut || socket->state == SIM_DEAD) return -EPIPE;
    if (socket->state == SIM_CONNECTING) return -EAGAIN;
    if (socket->state != SIM_CONNECTED) return -ENOTCONN;
    uint64_t room = sim_socket_room(socket);
    if (room == 0) {
        socket->wants_room = true;
        return -EAGAIN;
    }
    if (sim_chance(world, world->faults.short_send)) room = 1 + sim_random_below(&world->random, (uint32_t)room);
    uint64_t taken = 0;
    for (size_t i = 0; i < count && taken < room; i++) {
        uint64_t part = vectors[i].iov_len < room - taken ? vectors[i].iov_len : room - taken;
        if (part == 0) continue;
        if (!append_segment(socket, &vectors[i], (uint32_t)part, notification)) break;
        taken += part;
    }
    if (taken < room) socket->wants_room = false;
    else socket->wants_room = true;
    world->statistics.bytes += taken;
    sim_trace(world, SIM_T_SEND, sim_number(socket->file.fd), (int64_t)taken);
    sim_tcp_push(world, socket);
    return (int64_t)taken;
}

// ------------------------------------------------------------------------------------------------------------ addresses

static uint16_t address_port(const struct sockaddr_storage *address) {
    switch (address->ss_family) {
    case AF_INET: return ntohs(((const struct sockaddr_in *)address)->sin_port);
    case AF_INET6: return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    default: return 0;
    }
}

static void set_port(struct sockaddr_storage *address, uint16_t port) {
    if (address->ss_family == AF_INET) ((struct sockaddr_in *)address)->sin_port = htons(port);
    if (address->ss_family == AF_INET6) ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

// 10.x.y.z is host x.y.z - 1, and so is ::ffff:10.x.y.z; 127.0.0.1 and ::1 are the host itself. False: nobody has it.
static bool host_of(const sim_world *world, const struct sockaddr_storage *address, sim_host *host) {
    uint32_t number = 0;
    if (address->ss_family == AF_INET) {
        number = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
    } else {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(v6)) number = INADDR_LOOPBACK;
        else if (IN6_IS_ADDR_V4MAPPED(v6)) number = ntohl(v6->s6_addr32[3]);
    }
    *host = world->host;
    if (number >> 24 == 127 || number == INADDR_ANY) return true;
    *host = (number & 0xFFFFFF) - 1;
    return number >> 24 == 10 && *host < world->machine_count;
}

static void own_address(sim_host host, int family, struct sockaddr_storage *address) {
    uint32_t number = htonl(10u << 24 | (host + 1));
    *address = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    if (family == AF_INET) {
        ((struct sockaddr_in *)address)->sin_addr.s_addr = number;
    } else {
        struct in6_addr *v6 = &((struct sockaddr_in6 *)address)->sin6_addr;
        v6->s6_addr[10] = v6->s6_addr[11] = 0xFF;
        v6->s6_addr32[3] = number;
    }
}

static socklen_t address_length(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static uint16_t free_port(sim_world *world, sim_host host) {
    sim_machine *machine = &world->machines[host];
    if (machine->next_port < SIM_PORT_FIRST || machine->next_port >= SIM_PORT_LAST) machine->next_port = SIM_PORT_FIRST;
    return machine->next_port++;
}

// ---------------------------------------------------------------------------------------------------------------- calls

static sim_socket *socket_of(int fd) {
    sim_world *world = sim_here;
    world->statistics.calls++;
    sim_time_passes(world);
    sim_file *file = sim_file_of(world, fd);
    if (!file) errno = EBADF;
    else if (file->kind != SIM_SOCKET) errno = ENOTSOCK;
    else return (sim_socket *)file;
    return NULL;
}

static int call_socket(int family, int type, int protocol) {
    (void)type, (void)protocol;
    sim_world *world = sim_here;
    bool known = family == AF_INET || (family == AF_INET6 && !sim_chance(world, world->faults.socket_fails));
    if (!known) return told(SIM_ON_SOCKET, -EAFNOSUPPORT, 0);
    int error = sim_fails(world, SIM_ON_SOCKET, world->faults.socket_fails);
    if (error) return fail(error);
    sim_socket *socket = sim_socket_create(world, world->host);
    if (!socket) return fail(ENOMEM);
    socket->local.ss_family = (sa_family_t)family;
    int fd = sim_file_open(world, &socket->file, SIM_SOCKET);
    if (fd < 0) sim_socket_free(world, socket);
    sim_trace(world, SIM_T_SOCKET, sim_number(fd), 0);
    return told(SIM_ON_SOCKET, fd < 0 ? -errno : fd, SIM_DONE);
}

static bool port_is_taken(const sim_machine *machine, uint16_t port, bool shares) {
    for (uint32_t i = 0; i < machine->listener_count; i++)
        if (machine->listeners[i]->port == port && !(shares && machine->listeners[i]->reuse_port)) return true;
    return false;
}

static int call_bind(int fd, const struct sockaddr *address, socklen_t length) {
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    if (socket->is_bound || address->sa_family != socket->local.ss_family) return fail(EINVAL);
    int error = sim_fails(world, SIM_ON_BIND, world->faults.bind_fails);
    if (error) return fail(error);
    struct sockaddr_storage wanted = {0};
    memcpy(&wanted, address, length < sizeof wanted ? length : sizeof wanted);
    sim_host host;
    if (!host_of(world, &wanted, &host) || host != socket->file.host) return told(SIM_ON_BIND, -EADDRNOTAVAIL, 0);
    uint16_t port = address_port(&wanted);
    sim_machine *machine = &world->machines[host];
    if (port == 0) {
        port = free_port(world, host);
        while (port_is_taken(machine, port, false)) port = free_port(world, host);
    }
    if (port_is_taken(machine, port, socket->reuse_port)) return told(SIM_ON_BIND, -EADDRINUSE, 0);
    socket->local = wanted;
    set_port(&socket->local, port);
    socket->port = port;
    socket->is_bound = true;
    sim_trace(world, SIM_T_BIND, sim_number(fd), port);
    return told(SIM_ON_BIND, 0, SIM_DONE);
}

static int call_listen(int fd, int backlog) {
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    if (!socket->is_bound || (socket->state != SIM_NEW && socket->state != SIM_LISTENING)) return fail(EINVAL);
    sim_machine *machine = &world->machines[socket->file.host];
    socket->backlog = backlog > 0 ? (uint32_t)backlog : 1;
    if (socket->state == SIM_LISTENING) return 0;
    int error = sim_fails(world, SIM_ON_LISTEN, world->faults.bind_fails);
    if (error) return fail(error);
    if (port_is_taken(machine, socket->port, socket->reuse_port)) return told(SIM_ON_LISTEN, -EADDRINUSE, 0);
    if (!sim_grow(&machine->listeners, &machine->listener_capacity, machine->listener_count + 1, sizeof *machine->listeners))
        return fail(ENOBUFS);
    machine->listeners[machine->listener_count++] = socket;
    socket->state = SIM_LISTENING;
    sim_trace(world, SIM_T_LISTEN, sim_number(fd), socket->port);
    return told(SIM_ON_LISTEN, 0, SIM_DONE);
}

int sim_socket_accept(sim_world *world, sim_socket *socket, sim_operation operation) {
    if (socket->state != SIM_LISTENING) return -EINVAL;
    sim_socket *child = socket->queue_head;
    if (!child) return -EAGAIN;
    int error = sim_fails(world, operation, world->faults.accept_fails);
    if (error && error != ECONNABORTED) return -error;
    if (!error) {
        sim_host before = world->host;
        world->host = socket->file.host;
        int opened = sim_file_open(world, &child->file, SIM_SOCKET);
        world->host = before;
        if (opened < 0) {
            sim_told(world, operation, errno);
            return -errno;
        }
    }
    socket->queue_head = child->next_queued;
    if (!socket->queue_head) socket->queue_tail = NULL;
    socket->queued--;
    child->next_queued = NULL;
    if (error) {
        sim_tcp_reset(world, child);
        sim_socket_free(world, child);
        return -error;
    }
    sim_trace(world, SIM_T_ACCEPT, sim_number(socket->file.fd), (int64_t)sim_number(child->file.fd));
    return child->file.fd;
}

static int call_accept(int fd, int flags) {
    (void)flags;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int result = sim_socket_accept(sim_here, socket, SIM_ON_ACCEPT);
    // Others are told where they come from.
    if (result >= 0 || result == -EAGAIN) sim_told_result(sim_here, SIM_ON_ACCEPT, result, SIM_DONE);
    return result < 0 ? fail(-result) : result;
}

int sim_socket_connect(sim_world *world, sim_socket *socket, const struct sockaddr *address, socklen_t length,
                       sim_operation operation) {
    // Connecting to nowhere ends what there is.
    if (address->sa_family == AF_UNSPEC) {
        sim_told(world, SIM_ON_DISCONNECT, SIM_DONE);
        if (socket->state == SIM_CONNECTED || socket->state == SIM_CONNECTING) {
            sim_tcp_reset(world, socket);
            socket->error = 0;
        }
        return 0;
    }
    switch (socket->state) {
    case SIM_CONNECTED: return -EISCONN;
    case SIM_CONNECTING: return -EALREADY;
    case SIM_NEW: break;
    case SIM_DEAD: return socket->error ? -sim_socket_take_error(socket) : -ECONNABORTED;
    default: return -EINVAL;
    }
    if (address->sa_family != socket->local.ss_family) return -EAFNOSUPPORT;
    memcpy(&socket->remote, address, length < sizeof socket->remote ? length : sizeof socket->remote);
    int error = sim_fails(world, operation, world->faults.connect_fails);
    if (error) return -error;
    sim_host before = world->host;
    world->host = socket->file.host;
    bool known = host_of(world, &socket->remote, &socket->remote_host);
    world->host = before;
    if (!known) {
        sim_told(world, operation, ENETUNREACH);
        return -ENETUNREACH;
    }
    if (!socket->is_bound) {
        socket->port = free_port(world, socket->file.host);
        own_address(socket->file.host, socket->local.ss_family, &socket->local);
        set_port(&socket->local, socket->port);
        socket->is_bound = true;
    }
    sim_trace(world, SIM_T_CONNECT, sim_number(socket->file.fd), address_port(&socket->remote));
    sim_tcp_connect(world, socket);
    return -EINPROGRESS;
}

static int call_connect(int fd, const struct sockaddr *address, socklen_t length) {
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int result = sim_socket_connect(sim_here, socket, address, length, SIM_ON_CONNECT);
    if (result == -EINPROGRESS) sim_told(sim_here, SIM_ON_CONNECT, EINPROGRESS);
    return result < 0 ? fail(-result) : 0;
}

static ssize_t call_recv(int fd, void *memory, size_t length, int flags) {
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    sim_operation operation = flags & MSG_TRUNC ? SIM_ON_DISCARD : SIM_ON_RECV;
    int error = sim_fails(world, operation, 0);
    if (error) return fail(error);
    size_t asked = length;
    size_t there = length < socket->unread ? length : socket->unread;
    bool is_short = there > 1 && sim_chance(world, world->faults.short_receive);
    if (is_short) length = 1 + sim_random_below(&world->random, (uint32_t)there - 1);
    if (sim_chance(world, world->faults.receive_says_again)) {
        // There is more, and an edge will say so.
        sim_epoll_wake(world, &socket->file);
        sim_told(world, operation, is_readable(socket) ? SIM_NOT_YET : EAGAIN);
        return fail(EAGAIN);
    }
    int64_t result = sim_socket_receive(world, socket, flags & MSG_TRUNC ? NULL : memory, length);
    // As if the rest had come a moment later: who gets fewer bytes than it asked for waits for the next edge (epoll(7)).
    if (is_short) sim_epoll_wake(world, &socket->file);
    int outcome = result == 0 ? SIM_END : is_short && operation == SIM_ON_RECV ? SIM_SHORT
                                      : (size_t)result == asked                ? SIM_FULL
                                                                               : SIM_DONE;
    return told(operation, (int)result, outcome);
}

static ssize_t call_sendmsg(int fd, const struct msghdr *message, int flags) {
    (void)flags;
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int error = sim_fails(world, SIM_ON_SEND, world->faults.send_fails);
    if (error) return fail(error);
    if (sim_chance(world, world->faults.send_says_again)) {
        // An edge follows: at once, or when there is more room.
        sim_told(world, SIM_ON_SEND, sim_socket_room(socket) > 0 ? SIM_NOT_YET : EAGAIN);
        socket->wants_room = true;
        if (sim_socket_readiness(socket) & EPOLLOUT) sim_epoll_wake(world, &socket->file);
        return fail(EAGAIN);
    }
    int64_t result = sim_socket_send(world, socket, message->msg_iov, message->msg_iovlen, NULL);
    return told(SIM_ON_SEND, (int)result, sim_is_all(result, message->msg_iov, message->msg_iovlen) ? SIM_DONE : SIM_SHORT);
}

static int call_shutdown(int fd, int how) {
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    sim_trace(world, SIM_T_SHUTDOWN, sim_number(fd), how);
    int error = sim_fails(world, SIM_ON_SHUTDOWN, 0);
    if (error) return fail(error);
    if (socket->state == SIM_CONNECTING) {
        sim_tcp_die(world, socket, 0);
        return told(SIM_ON_SHUTDOWN, 0, SIM_DONE);
    }
    if (socket->state != SIM_CONNECTED) return told(SIM_ON_SHUTDOWN, -ENOTCONN, 0);
    if (how != SHUT_WR) socket->input_shut = true;
    if (how != SHUT_RD && !socket->output_shut) {
        socket->output_shut = true;
        sim_tcp_push(world, socket);
    }
    sim_file_wake(world, &socket->file, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    return told(SIM_ON_SHUTDOWN, 0, SIM_DONE);
}

static void told_close(sim_world *world, const sim_socket *socket) {
    int outcome = socket->state == SIM_LISTENING   ? SIM_DONE
                  : socket->state != SIM_CONNECTED ? ENOTCONN
                  : socket->no_linger              ? SIM_RESET
                  : socket->unread > 0             ? SIM_UNREAD
                                                   : SIM_DONE;
    sim_told(world, SIM_ON_CLOSE, outcome);
}

// The last descriptor is closed, and no request of a ring has the socket any more.
void sim_socket_closed(sim_world *world, sim_socket *socket) {
    socket->is_orphan = true;
    told_close(world, socket);
    switch (socket->state) {
    case SIM_LISTENING: {
        sim_machine *machine = &world->machines[socket->file.host];
        for (uint32_t i = 0; i < machine->listener_count; i++)
            if (machine->listeners[i] == socket) machine->listeners[i--] = machine->listeners[--machine->listener_count];
        for (sim_socket *lists[] = {socket->queue_head, socket->half_open}, **list = lists; list < lists + 2; list++) {
            while (*list) {
                sim_socket *child = *list;
                *list = child->next_queued;
                sim_tcp_reset(world, child);
                sim_socket_free(world, child);
            }
        }
        sim_socket_free(world, socket);
        return;
    }
    case SIM_CONNECTED:
        if (socket->no_linger || socket->unread > 0) {
            sim_tcp_reset(world, socket);
            sim_socket_free(world, socket);
            return;
        }
        socket->output_shut = true;
        // It may be over, and gone, with this.
        sim_tcp_push(world, socket);
        return;
    case SIM_CONNECTING: sim_tcp_reset(world, socket);
    // Falls through.
    default: sim_socket_free(world, socket);
    }
}

// -------------------------------------------------------------------------------------------------------------- options

static uint32_t clamped(int value) {
    uint32_t doubled = value > 0 ? (uint32_t)value * 2 : 0;
    return doubled < SIM_BUFFER_LEAST ? SIM_BUFFER_LEAST : doubled;
}

// Those that mean something here are remembered; the others are taken and forgotten. 0 or -errno.
static int set_option(sim_world *world, sim_socket *socket, int level, int name, const void *value, socklen_t length) {
    // Not one that every kernel has.
    if (level == IPPROTO_TCP && sim_chance(world, world->faults.option_fails)) return -ENOPROTOOPT;
    if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT) {
        int milliseconds;
        if (length < sizeof milliseconds) return -EINVAL;
        memcpy(&milliseconds, value, sizeof milliseconds);
        if (milliseconds < 0) return -EINVAL;
        socket->user_timeout = (uint64_t)milliseconds * SIM_MILLI;
    }
    if (level != SOL_SOCKET) return 0;
    if (name == SO_LINGER) {
        const struct linger *linger = value;
        if (length < sizeof *linger) return -EINVAL;
        socket->no_linger = linger->l_onoff && linger->l_linger == 0;
        return 0;
    }
    int number;
    if (length < sizeof number) return -EINVAL;
    memcpy(&number, value, sizeof number);
    if (name == SO_REUSEPORT) socket->reuse_port = number != 0;
    if (name == SO_SNDBUF) socket->send_buffer = clamped(number);
    if (name == SO_RCVBUF) socket->receive_buffer = clamped(number);
    return 0;
}

static int call_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    sim_world *world = sim_here;
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int error = sim_fails(world, SIM_ON_SETSOCKOPT, world->faults.option_fails);
    return error ? fail(error) : told(SIM_ON_SETSOCKOPT, set_option(world, socket, level, name, value, length), SIM_DONE);
}

static int tell(void *value, socklen_t *length, const void *answer, socklen_t size) {
    if (*length > size) *length = size;
    memcpy(value, answer, *length);
    return 0;
}

static int call_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    bool asks_error = level == SOL_SOCKET && name == SO_ERROR;
    int error = sim_fails(sim_here, asks_error ? SIM_ON_SO_ERROR : SIM_ON_GETSOCKOPT, 0);
    if (error) return fail(error);
    if (level == IPPROTO_TCP && name == TCP_INFO) {
        struct tcp_info info = {
            .tcpi_state = socket->state == SIM_CONNECTED ? 1 : 7,
            .tcpi_retransmits = (uint8_t)(socket->tries > 255 ? 255 : socket->tries),
            .tcpi_unacked = socket->sent > socket->acknowledged,
        };
        return tell(value, length, &info, sizeof info);
    }
    int number = 0;
    if (asks_error) number = sim_socket_take_error(socket);
    if (level == SOL_SOCKET && name == SO_DOMAIN) number = socket->local.ss_family;
    if (level == SOL_SOCKET && name == SO_SNDBUF) number = (int)socket->send_buffer;
    if (level == SOL_SOCKET && name == SO_RCVBUF) number = (int)socket->receive_buffer;
    if (asks_error) sim_told(sim_here, SIM_ON_SO_ERROR, number ? number : SIM_DONE);
    else sim_told(sim_here, SIM_ON_GETSOCKOPT, SIM_DONE);
    return tell(value, length, &number, sizeof number);
}

static int tell_address(struct sockaddr *address, socklen_t *length, const struct sockaddr_storage *known) {
    socklen_t size = address_length(known);
    memcpy(address, known, *length < size ? *length : size);
    *length = size;
    return 0;
}

static int call_getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int error = sim_fails(sim_here, SIM_ON_GETSOCKNAME, 0);
    if (error) return fail(error);
    sim_told(sim_here, SIM_ON_GETSOCKNAME, SIM_DONE);
    return tell_address(address, length, &socket->local);
}

static int call_getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    int error = sim_fails(sim_here, SIM_ON_GETPEERNAME, 0);
    if (error) return fail(error);
    if (socket->state != SIM_CONNECTED) return told(SIM_ON_GETPEERNAME, -ENOTCONN, 0);
    sim_told(sim_here, SIM_ON_GETPEERNAME, SIM_DONE);
    return tell_address(address, length, &socket->remote);
}

static int call_ioctl(int fd, unsigned long request, int *value) {
    sim_socket *socket = socket_of(fd);
    if (!socket) return -1;
    sim_operation operation = request == FIONBIO ? SIM_ON_FIONBIO : request == FIONREAD ? SIM_ON_FIONREAD
                                                                                        : SIM_ON_SIOCOUTQ;
    int error = sim_fails(sim_here, operation, 0);
    if (error) return fail(error);
    switch (request) {
    case FIONBIO: break;    // No call waits here.
    case FIONREAD: *value = (int)socket->unread; break;
    case SIOCOUTQ:
        *value = (int)(socket->written - socket->acknowledged) + (socket->output_shut && !socket->fin_acknowledged);
        break;
    default: return fail(ENOTTY);
    }
    return told(operation, 0, request == FIONBIO || *value > 0 ? SIM_DONE : SIM_NOTHING);
}

void sim_fill_in_sockets(ct_kernel *kernel) {
    kernel->socket = call_socket;
    kernel->bind = call_bind;
    kernel->listen = call_listen;
    kernel->accept = call_accept;
    kernel->connect = call_connect;
    kernel->recv = call_recv;
    kernel->sendmsg = call_sendmsg;
    kernel->shutdown = call_shutdown;
    kernel->setsockopt = call_setsockopt;
    kernel->getsockopt = call_getsockopt;
    kernel->getsockname = call_getsockname;
    kernel->getpeername = call_getpeername;
    kernel->ioctl = call_ioctl;
}
