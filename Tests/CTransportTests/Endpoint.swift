import CTransport
import Glibc

/// What a slot told its owner, in order. Receives that follow each other are one entry, because how the kernel cuts a
/// stream into pieces is nobody's business.
enum Happening: Equatable {
    case accepted(more: Bool)
    case acceptFailed(Int32)
    case received(bytes: Int)
    case endOfStream
    case receiveFailed(Int32)
    case sent(bytes: Int)
    case sendFailed(Int32)
    case notified
    case connected
    case connectFailed(Int32)
    /// There was no room for the request.
    case connectAgain
    case closed
}

/// A slot together with everything its events said so far.
final class Endpoint {
    let slot: UnsafeMutablePointer<ct_slot>
    /// The context given to the core: never 0.
    let id: Int
    let index: UInt32
    let generation: UInt32

    var happenings: [Happening] = []
    var received: [UInt8] = []
    var acceptedDescriptors: [Int32] = []
    /// Events after CLOSED; there must be none.
    var eventsAfterClose = 0
    var isClosed = false
    /// Called with each piece received, before the next event.
    var onReceive: (([UInt8]) -> Void)?
    /// Called when a send is over and another may begin.
    var onSent: (() -> Void)?

    private(set) var outgoing: UnsafeMutableBufferPointer<UInt8>?
    /// What was sent without a copy: the kernel may read it for as long as the endpoint lives.
    private var lent: [UnsafeMutableBufferPointer<UInt8>] = []
    private var outgoingOffset = 0
    private var vectorCount = 1
    private var zeroCopy = false
    /// The tag of the next zero-copy send; counted up with each, and round.
    var tag: UInt16 = 0
    /// The tags that came back, with "a notification follows" (in `owed`), and with the notifications.
    private(set) var sentTags: [UInt16] = []
    private(set) var owedTags: [UInt16] = []
    private(set) var notifiedTags: [UInt16] = []

    init(slot: UnsafeMutablePointer<ct_slot>, id: Int) {
        self.slot = slot
        self.id = id
        index = slot.pointee.index
        generation = slot.pointee.generation
    }

    deinit {
        outgoing?.deallocate()
        for memory in lent { memory.deallocate() }
    }

    /// Hands over all of `bytes`, in as many sends as the kernel needs, each in up to `vectors` pieces.
    func send(_ bytes: [UInt8], vectors: Int = 1, zeroCopy: Bool = false, on loop: TestLoop) -> Int32 {
        precondition(outgoing == nil, "one send at a time")
        let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
        _ = memory.initialize(from: bytes)
        outgoing = memory
        outgoingOffset = 0
        vectorCount = vectors
        self.zeroCopy = zeroCopy
        return sendRest(on: loop)
    }

    private func sendRest(on loop: TestLoop) -> Int32 {
        let rest = UnsafeMutableBufferPointer(rebasing: outgoing![outgoingOffset...])
        let piece = max(1, (rest.count + vectorCount - 1) / vectorCount)
        let vectors = stride(from: 0, to: rest.count, by: piece).map {
            iovec(iov_base: rest.baseAddress! + $0, iov_len: min(piece, rest.count - $0))
        }
        if !zeroCopy { return ct_send(loop.loop, slot, vectors, UInt32(vectors.count)) }
        let result = ct_send_zero_copy(loop.loop, slot, vectors, UInt32(vectors.count), tag)
        tag = (tag + 1) % UInt16(CT_SEND_TAG_MAX + 1)
        return result
    }

    func noteTag(of event: ct_event) {
        let tag = UInt16(event.token)
        if event.kind == CT_EVENT_NOTIFICATION {
            notifiedTags.append(tag)
        } else {
            sentTags.append(tag)
            if event.has(CT_EVENT_MORE) { owedTags.append(tag) }
        }
    }

    /// Hands over the rest if there is one.
    func sendEnded(_ result: Int32, on loop: TestLoop) {
        guard let outgoing else { return }
        if result > 0 { outgoingOffset += Int(result) }
        let over = (result < 0 && result != -EAGAIN) || outgoingOffset == outgoing.count
        if !over && sendRest(on: loop) == 0 { return }
        if zeroCopy { lent.append(outgoing) } else { outgoing.deallocate() }
        self.outgoing = nil
        onSent?()
    }

    func note(_ happening: Happening) {
        if isClosed { eventsAfterClose += 1 }
        if case .received(let bytes) = happening, case .received(let before)? = happenings.last {
            happenings[happenings.count - 1] = .received(bytes: before + bytes)
        } else {
            happenings.append(happening)
        }
    }
}
