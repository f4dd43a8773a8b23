import SwiftTransport

/// Bytes that travel as a message until a ``Scrambler`` turns them into bytes again.
struct Letter: Sendable {
    let buffer: Buffer
}

/// An outbound handler that passes writes on late, several as one, fails some and forgets some, and keeps their order all the
/// same. The loop's thread only.
final class Scrambler: ChannelHandler, @unchecked Sendable {
    static let interests: ChannelEvents = .outbound

    /// A write that is held back.
    private final class Held {
        let buffer: Buffer
        let isTold: Bool
        var promise: WritePromise?
        init(_ buffer: Buffer, promise: consuming WritePromise) {
            self.buffer = buffer
            isTold = !promise.isNone
            self.promise = consume promise
        }
    }

    private var random: Random
    private var context: ChannelContext?
    private var held: [Held] = []
    private var hasGreeted = false
    private var isDelaying = false
    private let census = Census.Member(.handler)

    init(_ random: Random) { self.random = random }

    func handlerAdded(_ context: ChannelContext) { self.context = context }

    func handlerRemoved(_ context: ChannelContext) {
        self.context = nil
        // Their promises go with them.
        held.removeAll()
    }

    func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        if held.isEmpty, random.oneIn(2) {
            hasGreeted = true
            context.write(bytes, promise: promise)
        } else {
            scramble(context, Buffer(bytes), promise: promise)
        }
    }

    private func scramble(_ context: ChannelContext, _ buffer: Buffer, promise: consuming WritePromise) {
        // Whoever sees no greeting never knows the session.
        guard hasGreeted else {
            hasGreeted = true
            context.write(buffer, promise: promise)
            return
        }
        guard held.isEmpty else { return held.append(Held(buffer, promise: promise)) }
        switch random.below(12) {
        case 0, 1, 2: held.append(Held(buffer, promise: promise))
        case 3 where !promise.isNone: promise.complete(TransportError(.unencodableMessage))
        // Let go, and thereby failed.
        case 4 where !promise.isNone: break
        default: context.write(buffer, promise: promise)
        }
    }

    func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
        if let letter = message as? Letter {
            scramble(context, letter.buffer, promise: promise)
        } else {
            context.write(message: message, promise: promise)
        }
    }

    func flush(_ context: ChannelContext) {
        if !held.isEmpty, random.oneIn(4) { return delay(context) }
        release(context)
        context.flush()
    }

    func close(_ context: ChannelContext, _ mode: CloseMode) {
        release(context)
        context.close(mode)
    }

    /// The flush comes later, but it comes.
    private func delay(_ context: ChannelContext) {
        guard !isDelaying else { return }
        isDelaying = true
        context.eventLoop.execute {
            self.isDelaying = false
            guard let context = self.context else { return }
            self.release(context)
            context.flush()
        }
    }

    /// Passes on what is held back, now and then several as one.
    private func release(_ context: ChannelContext) {
        while !held.isEmpty {
            // Who is not told of a failure must not share one with those who are.
            let isTold = held[0].isTold
            let writes = Array(held.prefix(random.oneIn(3) ? 4 : 1).prefix { $0.isTold == isTold })
            held.removeFirst(writes.count)
            var promise = WritePromise.none
            for write in writes {
                if let next = write.promise.take() { promise.join(next) }
            }
            let buffer = writes.count == 1 ? writes[0].buffer : Buffer(writes.flatMap { [UInt8]($0.buffer) })
            context.write(buffer, promise: promise)
        }
    }
}
