internal import CTransport
internal import Glibc

/// Sending without a copy, for a channel that asked for it: which writes, what the kernel still reads, and when to stop
/// trying. The loop's thread only.
///
/// A send without a copy has two ends: its result, which counts as the write's, and a notification that the memory is free.
/// They are counted apart; memory is held until no notification is outstanding.
final class ZeroCopySender {
    /// Below this size the book-keeping costs more than the copy (io_uring.md 1.7).
    static let smallest = 32 * 1024
    /// Notifications that report a copy all the same, after which it is given up: on loopback all do.
    private static let copiesTolerated = 8
    /// Outstanding notifications above which sends copy, so that held memory gets a chance to be let go.
    private static let outstandingLimit = 16

    private let threshold: Int
    @exclusivity(unchecked) var isInFlight = false
    @exclusivity(unchecked) private(set) var isGivenUp = false
    @exclusivity(unchecked) private var outstanding = 0
    @exclusivity(unchecked) private var copies = 0
    @exclusivity(unchecked) private var held: [UInt] = []

    init(threshold: ByteCount) { self.threshold = max(Self.smallest, threshold.bytes) }

    func wants(_ length: Int) -> Bool {
        !isGivenUp && length >= threshold && outstanding < Self.outstandingLimit
    }

    /// The result of a zero-copy send. True when it must be repeated with a copy.
    func sent(_ event: ct_event) -> Bool {
        isInFlight = false
        if event.flags & UInt16(CT_EVENT_MORE) != 0 { outstanding += 1 }
        // No memory that may be locked (RLIMIT_MEMLOCK), or a socket that cannot.
        guard event.result == -ENOMEM || event.result == -ENOBUFS || event.result == -EOPNOTSUPP else { return false }
        isGivenUp = true
        return true
    }

    /// The kernel still reads memory of finished writes.
    var isOutstanding: Bool { outstanding > 0 }

    /// Keeps memory that a finished write no longer needs but the kernel may still read. False: it may go.
    func hold(_ owner: UInt) -> Bool {
        guard outstanding > 0, owner != OutboundOwner.nobody else { return false }
        held.append(owner)
        return true
    }

    func notified(_ event: ct_event, _ memory: inout OutboundMemory) {
        outstanding -= 1
        if event.flags & UInt16(CT_EVENT_COPIED) != 0 {
            copies += 1
            if copies >= Self.copiesTolerated { isGivenUp = true }
        } else {
            copies = 0
        }
        guard outstanding == 0 else { return }
        for owner in held { OutboundOwner.release(owner, to: &memory) }
        held.removeAll(keepingCapacity: true)
    }
}
