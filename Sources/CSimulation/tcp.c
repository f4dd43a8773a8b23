// TCP between two sockets: packets that are late or lost, acknowledgements, windows, retransmission, the end of either side,
// resets. Simpler than the real one (no congestion window, no selective acknowledgement), but nothing that a program can see is
// missing.
#include "world.h"

#define SIM_PACKET_MAX (32u * 1024)
#define SIM_RTO_FIRST (200 * SIM_MILLI)
#define SIM_RTO_MAX (120 * SIM_SECOND)
#define SIM_TRIES_MAX 15u           // tcp_retries2
#define SIM_SYN_TRIES_MAX 6u        // tcp_syn_retries
#define SIM_ORPHAN_TIME (60 * SIM_SECOND)

enum : uint8_t { SYN = 1,
                 SYN_ACK = 2,
                 ACK = 4,
                 FIN = 8,
                 RST = 16,
                 PROBE = 32 };

typedef struct sim_packet {
    sim_event event;
    sim_handle from, to;
    sim_host from_host, to_host;
    uint16_t port;              // SYN: whose
    uint8_t flags;
    uint64_t position;          // of the first byte, or of the FIN
    uint64_t acknowledged, right_edge;
    uint32_t length;
    uint8_t bytes[];
} sim_packet;

static void packet_arrives(sim_world *world, sim_event *event);

// -------------------------------------------------------------------------------------------------------------- sending

static sim_link *link_between(sim_world *world, sim_host from, sim_host to) {
    return &world->links[from * world->machine_count + to];
}

static bool is_cut(sim_world *world, sim_host from, sim_host to) {
    return world->machines[from].is_off || world->machines[to].is_off || (from != to && link_between(world, from, to)->cut);
}

static void packet_drop(sim_world *world, sim_packet *packet) {
    world->statistics.packets_lost++;
    sim_trace(world, SIM_T_LOST, packet->to.index, (int64_t)packet->position);
    sim_free(packet);
}

// `socket`: whose order it keeps; NULL: nobody's.
static void packet_send(sim_world *world, sim_packet *packet, sim_socket *socket) {
    world->statistics.packets++;
    sim_link *link = link_between(world, packet->from_host, packet->to_host);
    bool lost = packet->from_host != packet->to_host && sim_random_below(&world->random, 65536) < link->loss;
    if (lost || is_cut(world, packet->from_host, packet->to_host) || sim_chance(world, world->faults.packet_lost)) {
        packet_drop(world, packet);
        return;
    }
    uint64_t delay = link->delay + sim_random_below(&world->random, (uint32_t)(link->delay / 8) + 1);
    bool late = sim_chance(world, world->faults.packet_late);
    if (late) delay += link->delay * sim_random_below(&world->random, 16);
    uint64_t arrival = world->now + delay;
    // What is late is overtaken.
    if (socket && !late) {
        if (arrival < socket->last_arrival) arrival = socket->last_arrival;
        socket->last_arrival = arrival;
    }
    packet->event.happens = packet_arrives;
    sim_schedule(world, &packet->event, arrival);
}

static sim_packet *packet_make(uint8_t flags, uint32_t length) {
    sim_packet *packet = sim_calloc(1, sizeof *packet + length);
    if (!packet) abort();
    packet->flags = flags;
    packet->length = length;
    return packet;
}

static void send_from(sim_world *world, sim_socket *socket, sim_packet *packet) {
    packet->from = socket->self;
    packet->to = socket->peer;
    packet->from_host = socket->file.host;
    packet->to_host = socket->remote_host;
    uint64_t edge = socket->received + (socket->unread < socket->receive_buffer ? socket->receive_buffer - socket->unread : 0);
    if (edge > socket->edge_told) socket->edge_told = edge;
    packet->acknowledged = socket->received + socket->input_over;
    packet->right_edge = socket->edge_told;
    packet_send(world, packet, socket);
}

static void send_flags(sim_world *world, sim_socket *socket, uint8_t flags) {
    sim_packet *packet = packet_make(flags, 0);
    packet->position = socket->sent;
    send_from(world, socket, packet);
}

static void answer_with_reset(sim_world *world, const sim_packet *to) {
    if (to->flags & RST) return;
    sim_packet *packet = packet_make(RST, 0);
    packet->from = to->to;
    packet->to = to->from;
    packet->from_host = to->to_host;
    packet->to_host = to->from_host;
    packet_send(world, packet, NULL);
}

static void copy_out(const sim_socket *socket, uint64_t position, uint8_t *bytes, uint32_t length) {
    const sim_segment *segment = socket->segments;
    while (segment && segment->from + segment->length <= position) segment = segment->next;
    for (uint32_t done = 0; done < length; segment = segment->next) {
        if (!segment) abort();
        uint64_t offset = position + done - segment->from;
        uint32_t part = segment->length - (uint32_t)offset;
        if (part > length - done) part = length - done;
        memcpy(bytes + done, segment->bytes + offset, part);
        done += part;
    }
}

static bool is_outstanding(const sim_socket *socket) {
    return socket->sent > socket->acknowledged || (socket->fin_sent && !socket->fin_acknowledged);
}

// --------------------------------------------------------------------------------------------------------------- timers

typedef struct sim_timer {
    sim_event event;
    sim_handle socket;
} sim_timer;

static void timer_rings(sim_world *world, sim_event *event);

void sim_tcp_stop_timer(sim_world *world, sim_socket *socket) {
    if (!socket->timer) return;
    sim_unschedule(world, socket->timer);
    sim_free(socket->timer);
    socket->timer = NULL;
}

static void start_timer(sim_world *world, sim_socket *socket, uint64_t delay) {
    if (socket->timer) sim_unschedule(world, socket->timer);
    else socket->timer = sim_calloc(1, sizeof(sim_timer));
    if (!socket->timer) abort();
    ((sim_timer *)socket->timer)->socket = socket->self;
    socket->timer->happens = timer_rings;
    sim_schedule(world, socket->timer, world->now + delay);
}

static uint64_t patience(sim_world *world, const sim_socket *socket, uint64_t first) {
    uint64_t time = first + 4 * link_between(world, socket->file.host, socket->remote_host)->delay;
    for (uint32_t i = 0; i < socket->tries && time < SIM_RTO_MAX; i++) time *= 2;
    return time < SIM_RTO_MAX ? time : SIM_RTO_MAX;
}

// True when it was the last thing the socket did.
static bool is_over(sim_world *world, sim_socket *socket) {
    if (!socket->is_orphan || !socket->fin_acknowledged || !socket->input_over) return false;
    sim_socket_free(world, socket);
    return true;
}

// When it is tried again, or given up.
static uint64_t until_next_try(sim_world *world, const sim_socket *socket) {
    uint64_t delay = patience(world, socket, SIM_RTO_FIRST);
    uint64_t end = socket->silent_since + socket->user_timeout;
    return socket->user_timeout && world->now + delay > end ? (end > world->now ? end - world->now : 0) : delay;
}

static void set_timer(sim_world *world, sim_socket *socket) {
    bool waits = is_outstanding(socket) || socket->sent < socket->written;
    if (!waits) socket->silent_since = SIM_FOREVER;
    else if (socket->silent_since == SIM_FOREVER) socket->silent_since = world->now;
    if (waits) {
        if (!socket->timer) start_timer(world, socket, until_next_try(world, socket));
    } else if (socket->is_orphan) {
        start_timer(world, socket, SIM_ORPHAN_TIME);
    } else {
        sim_tcp_stop_timer(world, socket);
        socket->tries = 0;
    }
}

void sim_tcp_push(sim_world *world, sim_socket *socket) {
    if (socket->state != SIM_CONNECTED) return;
    while (socket->sent < socket->written && socket->sent < socket->right_edge) {
        uint64_t length = socket->written - socket->sent;
        if (length > socket->right_edge - socket->sent) length = socket->right_edge - socket->sent;
        if (length > SIM_PACKET_MAX) length = SIM_PACKET_MAX;
        sim_packet *packet = packet_make(ACK, (uint32_t)length);
        packet->position = socket->sent;
        copy_out(socket, socket->sent, packet->bytes, (uint32_t)length);
        socket->sent += length;
        send_from(world, socket, packet);
    }
    if (socket->output_shut && !socket->fin_sent && socket->sent == socket->written) {
        socket->fin_sent = true;
        send_flags(world, socket, ACK | FIN);
    }
    if (!is_over(world, socket)) set_timer(world, socket);
}

// Why a connection ends that nobody answers: a router may have said so.
static int silence(sim_world *world) {
    static const int errors[] = {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH};
    return world->faults.tries_end ? errors[sim_random_below(&world->random, 3)] : ETIMEDOUT;
}

static void timer_rings(sim_world *world, sim_event *event) {
    sim_socket *socket = sim_socket_at(world, ((sim_timer *)event)->socket);
    sim_free(event);
    if (!socket) abort();
    socket->timer = NULL;
    if (socket->state == SIM_CONNECTING) {
        if (++socket->tries > SIM_SYN_TRIES_MAX || sim_chance(world, world->faults.tries_end))
            sim_tcp_die(world, socket, silence(world));
        else sim_tcp_connect(world, socket);
        return;
    }
    if (socket->state != SIM_CONNECTED) return;
    bool outstanding = is_outstanding(socket);
    if (!outstanding && socket->sent == socket->written) {
        // An orphan whose peer never ends its side.
        sim_socket_free(world, socket);
        return;
    }
    bool too_long = socket->user_timeout && world->now - socket->silent_since >= socket->user_timeout;
    if (++socket->tries > SIM_TRIES_MAX || too_long || (socket->tries > 1 && sim_chance(world, world->faults.tries_end))) {
        world->statistics.timeouts++;
        sim_tcp_die(world, socket, silence(world));
        return;
    }
    sim_trace(world, SIM_T_TIMEOUT, sim_number(socket->file.fd), (int64_t)socket->acknowledged);
    if (outstanding) {
        socket->sent = socket->acknowledged;
        socket->fin_sent = socket->fin_acknowledged;
        sim_tcp_push(world, socket);
    } else {
        send_flags(world, socket, ACK | PROBE);
        set_timer(world, socket);
    }
}

// ----------------------------------------------------------------------------------------------------------- the memory

void sim_notification_release(sim_world *world, sim_notification *notification) {
    if (--notification->references > 0) return;
    sim_ring_notified(world, notification);
    sim_free(notification);
}

static void free_segments_until(sim_world *world, sim_socket *socket, uint64_t position) {
    while (socket->segments && socket->segments->from + socket->segments->length <= position) {
        sim_segment *segment = socket->segments;
        socket->segments = segment->next;
        if (segment->notification) sim_notification_release(world, (sim_notification *)segment->notification);
        sim_free(segment);
    }
    if (!socket->segments) socket->last_segment = NULL;
}

void sim_segments_free(sim_world *world, sim_socket *socket) { free_segments_until(world, socket, UINT64_MAX); }

// ----------------------------------------------------------------------------------------------------------------- ends

// No packet goes out and none is waited for any more. What the socket knows of its stream stays readable.
void sim_tcp_die(sim_world *world, sim_socket *socket, int error) {
    if (socket->state == SIM_CONNECTED) world->machines[socket->file.host].connections--;
    socket->state = SIM_DEAD;
    socket->error = error;
    sim_tcp_stop_timer(world, socket);
    sim_segments_free(world, socket);
    if (socket->is_orphan) sim_socket_free(world, socket);
    else sim_file_wake(world, &socket->file, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

void sim_tcp_lost(sim_world *world, sim_socket *socket, int error) {
    world->statistics.resets++;
    sim_trace(world, SIM_T_RESET, sim_number(socket->file.fd), error);
    if (socket->state == SIM_CONNECTING && error == ECONNRESET) error = ECONNREFUSED;
    else if (socket->input_over) error = EPIPE;
    sim_tcp_die(world, socket, error);
}

void sim_tcp_reset(sim_world *world, sim_socket *socket) {
    if (socket->state == SIM_CONNECTED || socket->state == SIM_HALF_OPEN) send_flags(world, socket, RST);
    bool orphan = socket->is_orphan;
    socket->is_orphan = false;
    if (socket->state != SIM_DEAD) sim_tcp_die(world, socket, 0);
    socket->is_orphan = orphan;
}

void sim_tcp_forget(sim_world *world, sim_socket *socket) { sim_tcp_die(world, socket, ENETDOWN); }

void sim_tcp_reset_both(sim_world *world, sim_socket *socket) {
    sim_socket *peer = sim_socket_at(world, socket->peer);
    if (socket->state == SIM_CONNECTED) sim_tcp_lost(world, socket, ECONNRESET);
    if (peer && peer->state == SIM_CONNECTED) sim_tcp_lost(world, peer, ECONNRESET);
}

// ------------------------------------------------------------------------------------------------------------- beginning

static void become_connected(sim_world *world, sim_socket *socket) {
    socket->state = SIM_CONNECTED;
    socket->tries = 0;
    socket->silent_since = SIM_FOREVER;
    sim_tcp_stop_timer(world, socket);
    world->machines[socket->file.host].connections++;
    world->statistics.connections++;
}

void sim_tcp_connect(sim_world *world, sim_socket *socket) {
    socket->state = SIM_CONNECTING;
    sim_packet *packet = packet_make(SYN, 0);
    packet->port = socket->remote.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&socket->remote)->sin_port)
                                                       : ntohs(((struct sockaddr_in6 *)&socket->remote)->sin6_port);
    send_from(world, socket, packet);
    start_timer(world, socket, patience(world, socket, SIM_SECOND));
}

static sim_socket *listener_for(sim_world *world, sim_host host, uint16_t port) {
    sim_machine *machine = &world->machines[host];
    uint32_t count = 0;
    for (uint32_t i = 0; i < machine->listener_count; i++) count += machine->listeners[i]->port == port;
    if (count == 0) return NULL;
    uint32_t chosen = count == 1 ? 0 : sim_random_below(&world->random, count);
    for (uint32_t i = 0; i < machine->listener_count; i++)
        if (machine->listeners[i]->port == port && chosen-- == 0) return machine->listeners[i];
    return NULL;
}

static sim_socket *child_of(sim_socket *list, sim_handle peer) {
    while (list && (list->peer.index != peer.index || list->peer.generation != peer.generation)) list = list->next_queued;
    return list;
}

// A SYN that comes again finds the socket that the first one made, whichever of the listeners of the port has it.
static sim_socket *known_child(sim_world *world, const sim_packet *packet) {
    sim_machine *machine = &world->machines[packet->to_host];
    for (uint32_t i = 0; i < machine->listener_count; i++) {
        if (machine->listeners[i]->port != packet->port) continue;
        sim_socket *child = child_of(machine->listeners[i]->half_open, packet->from);
        if (!child) child = child_of(machine->listeners[i]->queue_head, packet->from);
        if (child) return child;
    }
    return NULL;
}

static void syn_arrives(sim_world *world, sim_packet *packet) {
    sim_socket *client = sim_socket_at(world, packet->from);
    sim_socket *child = known_child(world, packet);
    sim_socket *listener = child ? NULL : listener_for(world, packet->to_host, packet->port);
    if (child) {
        send_flags(world, child, SYN_ACK | ACK);
    } else if (!listener) {
        answer_with_reset(world, packet);
    } else if (client && client->state == SIM_CONNECTING && listener->queued <= listener->backlog) {
        child = sim_socket_create(world, packet->to_host);
        if (!child) return;
        child->state = SIM_HALF_OPEN;
        child->peer = packet->from;
        child->listener = listener->self;
        child->remote_host = packet->from_host;
        child->local = client->remote;
        child->remote = client->local;
        child->port = packet->port;
        child->is_bound = true;
        child->right_edge = packet->right_edge;
        child->send_buffer = listener->send_buffer;
        child->user_timeout = listener->user_timeout;
        child->receive_buffer = listener->receive_buffer;
        child->next_queued = listener->half_open;
        listener->half_open = child;
        send_flags(world, child, SYN_ACK | ACK);
    }
}

static void unlink_half_open(sim_socket *listener, sim_socket *child) {
    sim_socket **place = &listener->half_open;
    while (*place != child) place = &(*place)->next_queued;
    *place = child->next_queued;
    child->next_queued = NULL;
}

// The client has answered. False: there is no room for it yet, and it will try again.
static bool complete_half_open(sim_world *world, sim_socket *child) {
    sim_socket *listener = sim_socket_at(world, child->listener);
    if (!listener) abort();
    if (listener->queued > listener->backlog) return false;
    unlink_half_open(listener, child);
    become_connected(world, child);
    if (listener->queue_tail) listener->queue_tail->next_queued = child;
    else listener->queue_head = child;
    listener->queue_tail = child;
    listener->queued++;
    sim_file_wake(world, &listener->file, EPOLLIN);
    return true;
}

static void syn_ack_arrives(sim_world *world, sim_packet *packet) {
    sim_socket *socket = sim_socket_at(world, packet->to);
    if (!socket || (socket->state != SIM_CONNECTING && socket->state != SIM_CONNECTED)) {
        answer_with_reset(world, packet);
        return;
    }
    if (socket->state == SIM_CONNECTING) {
        socket->peer = packet->from;
        socket->right_edge = packet->right_edge;
        become_connected(world, socket);
        sim_file_wake(world, &socket->file, EPOLLOUT);
    } else if (socket->peer.index != packet->from.index || socket->peer.generation != packet->from.generation) {
        answer_with_reset(world, packet);
        return;
    }
    send_flags(world, socket, ACK);
}

// ------------------------------------------------------------------------------------------------------------- arriving

// Says nothing that was not known, while something is outstanding: the peer got what came behind a hole.
static bool is_duplicate(const sim_socket *socket, const sim_packet *packet) {
    return packet->length == 0 && is_outstanding(socket) && packet->right_edge == socket->right_edge;
}

static void acknowledged(sim_world *world, sim_socket *socket, const sim_packet *packet) {
    bool moved = false;
    uint64_t bytes = packet->acknowledged < socket->written ? packet->acknowledged : socket->written;
    if (bytes > socket->acknowledged) {
        socket->acknowledged = bytes;
        if (socket->sent < bytes) socket->sent = bytes;
        free_segments_until(world, socket, bytes);
        moved = true;
    }
    if (socket->output_shut && packet->acknowledged > socket->written && !socket->fin_acknowledged) {
        socket->fin_sent = socket->fin_acknowledged = true;
        moved = true;
    }
    socket->tries = 0;
    if (moved) {
        socket->duplicates = 0;
        socket->silent_since = SIM_FOREVER;
        sim_tcp_stop_timer(world, socket);
    } else if (is_duplicate(socket, packet) && ++socket->duplicates == 3) {
        // What is missing goes again.
        socket->duplicates = 0;
        socket->sent = socket->acknowledged;
        socket->fin_sent = socket->fin_acknowledged;
    }
    if (packet->right_edge > socket->right_edge) socket->right_edge = packet->right_edge;
    if (moved && socket->wants_room && sim_socket_room(socket) > socket->send_buffer / 3) {
        socket->wants_room = false;
        sim_file_wake(world, &socket->file, EPOLLOUT);
    }
}

static void take_bytes(sim_socket *socket, const sim_packet *packet, uint64_t skipped, uint32_t length) {
    sim_piece *piece = sim_malloc(sizeof *piece + length);
    if (!piece) abort();
    *piece = (sim_piece){.length = length};
    memcpy(piece->bytes, packet->bytes + skipped, length);
    if (socket->last_piece) socket->last_piece->next = piece;
    else socket->pieces = piece;
    socket->last_piece = piece;
    socket->unread += length;
    socket->received += length;
}

// True when the peer is to be told how far it has come.
static bool content_arrives(sim_world *world, sim_socket *socket, const sim_packet *packet) {
    bool fin = packet->flags & FIN;
    if (packet->length == 0 && !fin) return packet->flags & PROBE;
    uint64_t end = packet->position + packet->length;
    if (packet->position > socket->received || socket->input_over) return true;
    uint64_t skipped = socket->received - packet->position;
    uint64_t length = end > socket->received ? end - socket->received : 0;
    if (length > socket->edge_told - socket->received) length = socket->edge_told - socket->received;
    if (length > 0) take_bytes(socket, packet, skipped, (uint32_t)length);
    if (fin && socket->received == end) socket->input_over = true;
    if (length > 0 || socket->input_over)
        sim_file_wake(world, &socket->file, socket->input_over ? EPOLLIN | EPOLLRDHUP : EPOLLIN);
    return true;
}

static void segment_arrives(sim_world *world, sim_packet *packet) {
    sim_socket *socket = sim_socket_at(world, packet->to);
    bool expected = socket && socket->state != SIM_DEAD && socket->peer.index == packet->from.index &&
                    socket->peer.generation == packet->from.generation;
    if (packet->flags & RST) {
        if (!socket || socket->state == SIM_DEAD) return;
        if (socket->state == SIM_HALF_OPEN) {
            unlink_half_open(sim_socket_at(world, socket->listener), socket);
            sim_socket_free(world, socket);
        } else if (expected || socket->state == SIM_CONNECTING) {
            sim_tcp_lost(world, socket, ECONNRESET);
        }
        return;
    }
    if (!expected || socket->state == SIM_CONNECTING) {
        answer_with_reset(world, packet);
        return;
    }
    if (socket->state == SIM_HALF_OPEN && !complete_half_open(world, socket)) return;
    if (socket->is_orphan && packet->length > 0 && packet->position + packet->length > socket->received) {
        // Nobody will ever read this.
        sim_tcp_reset(world, socket);
        sim_socket_free(world, socket);
        return;
    }
    acknowledged(world, socket, packet);
    if (content_arrives(world, socket, packet)) send_flags(world, socket, ACK);
    sim_tcp_push(world, socket);
}

static void packet_arrives(sim_world *world, sim_event *event) {
    sim_packet *packet = (sim_packet *)event;
    if (is_cut(world, packet->from_host, packet->to_host)) {
        packet_drop(world, packet);
        return;
    }
    sim_trace(world, SIM_T_PACKET, packet->to.index, (int64_t)(packet->position << 8 | packet->flags));
    sim_host before = world->host;
    world->host = packet->to_host;
    sim_socket *socket = sim_socket_at(world, packet->to);
    if (socket && socket->state == SIM_CONNECTED && sim_chance(world, world->faults.connection_reset)) {
        sim_tcp_reset_both(world, socket);
    } else if (packet->flags & SYN) {
        syn_arrives(world, packet);
    } else if (packet->flags & SYN_ACK) {
        syn_ack_arrives(world, packet);
    } else {
        segment_arrives(world, packet);
    }
    world->host = before;
    sim_free(packet);
}

// What was read makes room. The peer is told when it is worth a packet.
void sim_tcp_read(sim_world *world, sim_socket *socket) {
    if (socket->state != SIM_CONNECTED || socket->input_over || socket->unread >= socket->receive_buffer) return;
    uint64_t edge = socket->received + socket->receive_buffer - socket->unread;
    if (edge >= socket->edge_told + socket->receive_buffer / 2) send_flags(world, socket, ACK);
}
