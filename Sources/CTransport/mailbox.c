// How other threads reach a loop: a lock-free stack of messages, reversed when taken, and an eventfd that is written
// only when the loop sleeps. The mailbox is counted, because a poster may still hold it when the loop is gone: a
// write to a closed, perhaps reused, descriptor is what netty#16716 was about.
//
// How a loop that goes to sleep is woken, and no wake is lost:
//
//     who posts                                       the loop
//     P1  incoming = mail                             S1  state = SLEEPING
//     P2  was it SLEEPING? (now WOKEN: write)         S2  anything in incoming? (then do not sleep)
//
// Each writes one word and then reads the other's, and all four are sequentially consistent: there is one order of them in
// which P1 comes before P2 and S1 before S2. So if S2 does not see the mail, S1 and S2 came before P1, and P2 sees SLEEPING.
// With release and acquire alone each could read before its own write is seen, and the mail would lie there until something
// else wakes the loop. The eventfd outlasts the moment: written before the loop waits, it ends the wait at once. WOKEN keeps
// those who post behind the first from writing again. What posts nothing but changes something that the loop looks at between
// S1 and its wait (chunk.c) comes in at P2.
#include "system.h"

enum {
    CT_AWAKE = 0,
    CT_SLEEPING,
    CT_WOKEN,
};

typedef struct ct_mail {
    struct ct_mail *_Nullable next;
    ct_message message;
} ct_mail;

struct ct_mailbox {
    ct_mail *_Nullable incoming;   // atomic; newest first; CLOSED once the loop takes no more
    uint32_t state;                // atomic: AWAKE to SLEEPING and anything to AWAKE by the loop, SLEEPING to WOKEN by others
    uint32_t references;           // atomic
    int eventfd;
    const ct_kernel *_Nullable kernel;   // whose the eventfd is; NULL: Linux
    char padding[64 - 32];         // what only the loop writes stays off the posters' cache line
    ct_mail *_Nullable taken;      // the loop's thread: oldest first
};
_Static_assert(offsetof(struct ct_mailbox, taken) == 64, "a cache line further on");

static ct_mail CT_CLOSED_MARK;
#define CT_CLOSED (&CT_CLOSED_MARK)

static bool mail_is_none(const ct_mail *_Nullable mail) { return mail == NULL || mail == CT_CLOSED; }

ct_mailbox *ct_mailbox_create(ct_failure *failure) {
    ct_mailbox *mailbox = ct_memory_allocate(sizeof *mailbox);
    int fd = mailbox ? sys_eventfd() : -1;
    if (fd < 0) {
        ct_fail(failure, CT_CALL_EVENTFD, mailbox ? errno : ENOMEM);
        ct_memory_free(mailbox, sizeof *mailbox);
        return NULL;
    }
    *mailbox = (ct_mailbox){.references = 1, .eventfd = fd, .kernel = ct_kernel_here};
    return mailbox;
}

// Relaxed: whoever retains it has it already.
void ct_mailbox_retain(ct_mailbox *mailbox) {
    uint32_t before = __atomic_fetch_add(&mailbox->references, 1, __ATOMIC_RELAXED);
    ct_assert(before > 0);
}

// Pairs with itself: what all others did with the mailbox has happened before the last one frees it.
void ct_mailbox_release(ct_mailbox *mailbox) {
    uint32_t left = __atomic_sub_fetch(&mailbox->references, 1, __ATOMIC_ACQ_REL);
    ct_assert(left != UINT32_MAX);
    if (left != 0) return;
    ct_assert(mail_is_none(mailbox->incoming) && !mailbox->taken);
    if (ct_unlikely(mailbox->kernel != NULL)) mailbox->kernel->eventfd_close(mailbox->kernel, mailbox->eventfd);
    else close(mailbox->eventfd);
    ct_memory_free(mailbox, sizeof *mailbox);
}

uint64_t ct_mailbox_clock(const ct_mailbox *mailbox) { return ct_clock_of(mailbox->kernel); }

int ct_mailbox_eventfd(const ct_mailbox *mailbox) { return mailbox->eventfd; }

// P2
void ct_mailbox_wake(ct_mailbox *mailbox) {
    uint32_t sleeping = CT_SLEEPING;
    if (!__atomic_compare_exchange_n(&mailbox->state, &sleeping, CT_WOKEN, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    if (ct_unlikely(mailbox->kernel != NULL)) {
        mailbox->kernel->eventfd_write(mailbox->kernel, mailbox->eventfd);
        return;
    }
    uint64_t one = 1;
    ssize_t written;
    do written = write(mailbox->eventfd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    // EAGAIN: the counter is at its end, so the descriptor is readable and the loop wakes all the same.
}

int ct_mailbox_post(ct_mailbox *mailbox, ct_message message) {
    ct_mail *mail = ct_memory_allocate(sizeof *mail);
    if (!mail) return -ENOMEM;
    mail->message = message;
    ct_mail *head = __atomic_load_n(&mailbox->incoming, __ATOMIC_RELAXED);
    // P1. Its release part pairs with the exchanges that take the mail: who takes it sees what is in it.
    do {
        if (head == CT_CLOSED) {
            ct_memory_free(mail, sizeof *mail);
            return -ECANCELED;
        }
        mail->next = head;
    } while (!__atomic_compare_exchange_n(&mailbox->incoming, &head, mail, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    ct_mailbox_wake(mailbox);
    return 0;
}

bool ct_mailbox_prepare_sleep(ct_mailbox *mailbox) {
    // Only the loop makes it something else than WOKEN, so its own last word is there.
    ct_assert(__atomic_load_n(&mailbox->state, __ATOMIC_RELAXED) == CT_AWAKE);
    __atomic_store_n(&mailbox->state, CT_SLEEPING, __ATOMIC_SEQ_CST);               // S1
    ct_mail *head = __atomic_load_n(&mailbox->incoming, __ATOMIC_SEQ_CST);          // S2
    // Taken but not handed out yet counts as well: the caller had room for some of a batch only.
    if (ct_likely(mail_is_none(head) && mailbox->taken == NULL)) return false;
    ct_mailbox_end_sleep(mailbox);
    return true;
}

// Relaxed: whoever takes the loop for asleep a moment longer writes the eventfd once for nothing.
void ct_mailbox_end_sleep(ct_mailbox *mailbox) { __atomic_store_n(&mailbox->state, CT_AWAKE, __ATOMIC_RELAXED); }

static ct_mail *_Nullable mailbox_reverse(ct_mail *_Nullable newest) {
    ct_mail *oldest = NULL;
    while (newest) {
        ct_mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

// Behind what was taken before: messages of one thread keep their order.
static void mailbox_append_taken(ct_mailbox *mailbox, ct_mail *_Nullable newest) {
    ct_mail **end = &mailbox->taken;
    while (*end) end = &(*end)->next;
    *end = mailbox_reverse(newest);
}

void ct_mailbox_close(ct_loop *loop) {
    ct_assert_on_loop(loop);
    // Acquires what P1 released. Who posts later finds CLOSED and takes the mail back.
    ct_mail *newest = __atomic_exchange_n(&loop->mailbox->incoming, CT_CLOSED, __ATOMIC_SEQ_CST);
    if (newest != CT_CLOSED) mailbox_append_taken(loop->mailbox, newest);
}

static int local_grow(ct_loop *loop) {
    uint32_t capacity = loop->local_capacity ? loop->local_capacity * 2 : 64;
    ct_message *ring = ct_memory_allocate(capacity * sizeof *ring);
    if (!ring) return -ENOMEM;
    for (uint32_t i = 0; i < loop->local_count; i++)
        ring[i] = loop->local[(loop->local_head + i) & (loop->local_capacity - 1)];
    ct_memory_free(loop->local, loop->local_capacity * sizeof *ring);
    loop->local = ring;
    loop->local_head = 0;
    loop->local_capacity = capacity;
    return 0;
}

int ct_mailbox_post_local(ct_loop *loop, ct_message message) {
    ct_assert_on_loop(loop);
    ct_assert(loop->local_count <= loop->local_capacity);
    if (ct_unlikely(loop->local_count == loop->local_capacity) && local_grow(loop) < 0) return -ENOMEM;
    loop->local[(loop->local_head + loop->local_count++) & (loop->local_capacity - 1)] = message;
    return 0;
}

static bool mailbox_refill(ct_mailbox *mailbox) {
    if (mailbox->taken) return true;
    // A look, which decides nothing: what came a moment ago may wait for the next turn, and S2 looks before the loop sleeps.
    ct_mail *newest = __atomic_load_n(&mailbox->incoming, __ATOMIC_RELAXED);
    if (mail_is_none(newest)) return false;
    // Acquires what P1 released. Only the loop closes it, so it cannot be CLOSED by now.
    mailbox->taken = mailbox_reverse(__atomic_exchange_n(&mailbox->incoming, NULL, __ATOMIC_ACQUIRE));
    return true;
}

// Turn about from both queues, so that a loop that keeps posting to itself does not shut others out.
uint32_t ct_mailbox_take(ct_loop *loop, ct_message *messages, uint32_t capacity) {
    ct_assert_on_loop(loop);
    ct_mailbox *mailbox = loop->mailbox;
    uint32_t count = 0;
    while (count < capacity) {
        uint32_t before = count;
        if (loop->local_count > 0) {
            messages[count++] = loop->local[loop->local_head];
            loop->local_head = (loop->local_head + 1) & (loop->local_capacity - 1);
            loop->local_count--;
        }
        if (count < capacity && mailbox_refill(mailbox)) {
            ct_mail *mail = mailbox->taken;
            mailbox->taken = mail->next;
            messages[count++] = mail->message;
            ct_memory_free(mail, sizeof *mail);
        }
        if (count == before) break;
    }
    loop->statistics.messages += count;
    return count;
}
