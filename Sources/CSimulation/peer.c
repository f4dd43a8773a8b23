// The other side of a connection whose program is a test: what it does, it does between the turns of the loops.
#include "world.h"

#define SIM_PEER_SENDS (1u << 31)    // what is sent here waits here, however much it is

struct sim_peer {
    sim_world *world;
    sim_handle socket, other;
};

static sim_socket *listener_at(sim_world *world, sim_host host, uint16_t port) {
    const sim_machine *machine = &world->machines[host];
    for (uint32_t i = 0; i < machine->listener_count; i++)
        if (machine->listeners[i]->port == port) return machine->listeners[i];
    return NULL;
}

bool sim_peer_listen(sim_world *world, sim_host host, uint16_t port, uint32_t buffer) {
    sim_machine *machine = &world->machines[host];
    if (!sim_grow(&machine->listeners, &machine->listener_capacity, machine->listener_count + 1, sizeof *machine->listeners))
        return false;
    sim_socket *listener = sim_socket_create(world, host);
    if (!listener) return false;
    listener->port = port;
    listener->is_bound = true;
    listener->backlog = 1;
    listener->state = SIM_LISTENING;
    listener->send_buffer = SIM_PEER_SENDS;
    listener->receive_buffer = buffer;
    machine->listeners[machine->listener_count++] = listener;
    return true;
}

sim_peer *sim_peer_accept(sim_world *world, sim_host host, uint16_t port) {
    sim_socket *listener = listener_at(world, host, port);
    sim_socket *socket = listener ? listener->queue_head : NULL;
    sim_peer *peer = socket ? sim_malloc(sizeof *peer) : NULL;
    if (!peer) return NULL;
    listener->queue_head = socket->next_queued;
    if (!listener->queue_head) listener->queue_tail = NULL;
    listener->queued--;
    socket->next_queued = NULL;
    *peer = (sim_peer){world, socket->self, socket->peer};
    return peer;
}

sim_peer *sim_peer_connect(sim_world *world, sim_host from, sim_host to, uint16_t port, uint32_t buffer) {
    sim_peer *peer = sim_malloc(sizeof *peer);
    sim_socket *socket = peer ? sim_socket_create(world, from) : NULL;
    if (!socket) {
        sim_free(peer);
        return NULL;
    }
    socket->send_buffer = SIM_PEER_SENDS;
    socket->receive_buffer = buffer;
    socket->local.ss_family = AF_INET;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(10u << 24 | (to + 1))};
    sim_world_set_host(world, from);
    // What comes of it, a look tells.
    int error = -sim_socket_connect(world, socket, (const struct sockaddr *)&address, sizeof address, SIM_ON_CONNECT);
    if (error != EINPROGRESS) socket->error = error;
    *peer = (sim_peer){world, socket->self, {0}};
    return peer;
}

void sim_peer_free(sim_peer *peer) { sim_free(peer); }

// NULL once it is closed.
static sim_socket *socket_of(const sim_peer *peer) {
    sim_socket *socket = sim_socket_at(peer->world, peer->socket);
    return socket && !socket->is_orphan ? socket : NULL;
}

sim_peer_state sim_peer_look(const sim_peer *peer) {
    const sim_socket *socket = sim_socket_at(peer->world, peer->socket);
    const sim_socket *other = sim_socket_at(peer->world, peer->other);
    sim_peer_state state = {.unreceived = other ? other->unread : 0};
    if (socket) state.unreceived += socket->written - socket->acknowledged;
    if (!socket_of(peer)) return state;
    state.is_connected = socket->state == SIM_CONNECTED;
    state.unread = socket->unread;
    state.is_over = socket->input_over || socket->state == SIM_DEAD;
    state.error = socket->error;
    return state;
}

bool sim_peer_send(sim_peer *peer, const void *bytes, uint64_t length) {
    sim_socket *socket = socket_of(peer);
    if (!socket || socket->state != SIM_CONNECTED || socket->output_shut) return false;
    sim_world_set_host(peer->world, socket->file.host);
    struct iovec vector = {(void *)(uintptr_t)bytes, length};
    return length == 0 || sim_socket_send(peer->world, socket, &vector, 1, NULL) == (int64_t)length;
}

uint64_t sim_peer_receive(sim_peer *peer, void *bytes, uint64_t length) {
    sim_socket *socket = socket_of(peer);
    if (!socket || socket->unread == 0) return 0;
    sim_world_set_host(peer->world, socket->file.host);
    return (uint64_t)sim_socket_receive(peer->world, socket, bytes, length);
}

void sim_peer_end_output(sim_peer *peer) {
    sim_socket *socket = socket_of(peer);
    if (!socket || socket->output_shut) return;
    sim_world_set_host(peer->world, socket->file.host);
    socket->output_shut = true;
    sim_tcp_push(peer->world, socket);
}

void sim_peer_close(sim_peer *peer) {
    sim_socket *socket = socket_of(peer);
    if (!socket) return;
    sim_world_set_host(peer->world, socket->file.host);
    sim_socket_closed(peer->world, socket);
}

void sim_peer_reset(sim_peer *peer) {
    sim_socket *socket = socket_of(peer);
    if (!socket) return;
    socket->no_linger = true;
    sim_peer_close(peer);
}
