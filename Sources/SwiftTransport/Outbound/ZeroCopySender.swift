internal import CTransport
internal import Glibc

/// Sending without a copy, for a channel that asked for it: which writes, what the kernel still reads, and when to stop
/// trying. The loop's thread only.
///
/// A send without a copy has two ends: its result, which counts as the write's, and a notification that the memory is free.
/// Sends are numbered, and a write's memory is held until the notifications of all sends up to the last one with a part of
/// it have come: in order, so that a steady stream lets go behind itself.
final class ZeroCopySender {
    /// Below this size the book-keeping costs more than the copy.
    static let smallest = 32 * 1024
    /// Notifications that report a copy all the same, after which it is given up: on loopback all do.
    private static let copiesTolerated = 8
    /// Outstanding notifications above which sends copy.
    private static let outstandingLimit = 16

    private struct Held {
        let owner: UInt
        let bytes: Int
        let number: Int
    }

    private let threshold: Int
    private(set) var isInFlight = false
    private(set) var isGivenUp = false
    private var copies = 0
    /// The number of the next send, and of the first one whose memory the kernel may still read.
    private var next = 0
    private var oldest = 0
    /// Bit i: the notification of send `oldest` + i has come before its turn.
    private var early: UInt32 = 0
    /// The last send that read memory of the first write in the queue.
    private var cover: Int?
    /// The result that is being walked over is that of such a send.
    private var isWalking = false
    // Two that are changed while something is called, but nothing of a user.
    @exclusivity(unchecked) private var held: [Held] = []
    @exclusivity(unchecked) private var firstHeld = 0

    init(threshold: ByteCount) { self.threshold = max(Self.smallest, threshold.bytes) }

    func wants(_ length: Int) -> Bool {
        !isGivenUp && length >= threshold && next - oldest < Self.outstandingLimit
    }

    /// The kernel may still read memory of writes.
    var isOutstanding: Bool { next > oldest }

    /// Of writes that have left the queue.
    var heldBytes: Int { held[firstHeld...].reduce(0) { $0 + $1.bytes } }

    // MARK: The send

    /// A send begins; its tag.
    func begin() -> UInt16 {
        assert(!isInFlight && next - oldest <= Self.outstandingLimit)
        isInFlight = true
        next += 1
        return tag(of: next - 1)
    }

    /// It never was handed over.
    func failed() {
        isInFlight = false
        settle(next - 1)
    }

    /// Its result. True when it must be repeated with a copy.
    func sent(_ event: ct_event) -> Bool {
        isInFlight = false
        if event.flags & UInt16(CT_EVENT_MORE) != 0 {
            cover = next - 1
            isWalking = true
        } else {
            settle(next - 1)
        }
        // No memory that may be locked (RLIMIT_MEMLOCK), or a socket that cannot.
        guard event.result == -ENOMEM || event.result == -ENOBUFS || event.result == -EOPNOTSUPP else { return false }
        isGivenUp = true
        isWalking = false
        return true
    }

    // MARK: The memory

    /// A write has left the queue. True when its memory, `bytes` of it, has to be held.
    func hold(_ owner: UInt, _ bytes: Int) -> Bool {
        guard let number = cover else { return false }
        if !isWalking { cover = nil }
        guard number >= oldest, owner != OutboundOwner.nobody else { return false }
        held.append(Held(owner: owner, bytes: bytes, number: number))
        return true
    }

    /// The walk over what the kernel took is over; `isPartial`: a part of the write it stopped at belongs to it.
    func walked(isPartial: Bool) {
        if isWalking, !isPartial { cover = nil }
        isWalking = false
    }

    /// The kernel no longer reads the memory of a send. Returns how many held bytes were let go.
    func notified(_ event: ct_event, _ memory: inout OutboundMemory) -> Int {
        if event.flags & UInt16(CT_EVENT_COPIED) != 0 {
            copies += 1
            if copies >= Self.copiesTolerated { isGivenUp = true }
        } else {
            copies = 0
        }
        let distance = Int(UInt16(truncatingIfNeeded: event.token) &- tag(of: oldest)) & Int(CT_SEND_TAG_MAX)
        settle(oldest + distance)
        return release(&memory)
    }

    /// The descriptor is closed: the kernel reads nothing any more, whether it has said so or, because it had no memory for
    /// saying it, has not. Returns how many held bytes were let go.
    func closed(_ memory: inout OutboundMemory) -> Int {
        oldest = next
        early = 0
        return release(&memory)
    }

    private func release(_ memory: inout OutboundMemory) -> Int {
        var released = 0
        while firstHeld < held.count, held[firstHeld].number < oldest {
            OutboundOwner.release(held[firstHeld].owner, to: &memory)
            released += held[firstHeld].bytes
            firstHeld += 1
        }
        if firstHeld == held.count {
            held.removeAll(keepingCapacity: true)
            firstHeld = 0
        } else if firstHeld >= 32 {
            held.removeFirst(firstHeld)
            firstHeld = 0
        }
        return released
    }

    private func tag(of number: Int) -> UInt16 { UInt16(number & Int(CT_SEND_TAG_MAX)) }

    private func settle(_ number: Int) {
        assert(number < next && number - oldest < UInt32.bitWidth)
        guard number >= oldest, number < next else { return }
        early |= 1 << UInt32(number - oldest)
        while early & 1 != 0 {
            early >>= 1
            oldest += 1
        }
    }
}
