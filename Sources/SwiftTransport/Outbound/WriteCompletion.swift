/// How a write ended: `nil` means that the kernel has accepted every byte of it. That is not yet the peer's word.
public typealias WriteResult = TransportError?

/// Who is told how a write ended, in two words and without an allocation where the caller needs none.
struct WriteCompletion {
    enum Kind: UInt8 {
        /// Nobody.
        case none
        /// The handler of the context that wrote: ``ChannelHandler/writeCompleted(_:tag:result:)``.
        case handler
        /// The same, for a write on the loop: the context is held and not retained.
        case writer
        /// A closure in a box.
        case closure
        /// A task that awaits.
        case continuation
        /// The channel, which closes when the write failed (P4).
        case closeOnFailure
        /// Several of these.
        case several
    }

    let kind: Kind
    var wantsProgress = false
    let word: UInt
    let tag: UInt64

    static let none = WriteCompletion(kind: .none, word: 0, tag: 0)

    static func handler(_ context: ChannelContext, tag: UInt64, progress: Bool = false) -> WriteCompletion {
        let word = UInt(bitPattern: Unmanaged.passRetained(context).toOpaque())
        return WriteCompletion(kind: .handler, wantsProgress: progress, word: word, tag: tag)
    }

    /// The loop's thread only.
    @inline(__always)
    static func writer(_ context: ChannelContext, tag: UInt64) -> WriteCompletion {
        WriteCompletion(kind: .writer, word: UInt(bitPattern: context.hold().toOpaque()), tag: tag)
    }

    static func closure(
        _ body: @escaping @Sendable (WriteResult) -> Void, progress: (@Sendable (WriteProgress) -> Void)? = nil
    ) -> WriteCompletion {
        let box = Unmanaged.passRetained(ClosureBox(body, progress))
        return WriteCompletion(
            kind: .closure, wantsProgress: progress != nil, word: UInt(bitPattern: box.toOpaque()), tag: 0)
    }

    static func continuation(_ continuation: UnsafeContinuation<WriteResult, Never>) -> WriteCompletion {
        WriteCompletion(kind: .continuation, word: unsafeBitCast(continuation, to: UInt.self), tag: 0)
    }

    static func closeOnFailure(_ channel: Channel) -> WriteCompletion {
        WriteCompletion(
            kind: .closeOnFailure, word: UInt(bitPattern: Unmanaged.passRetained(channel).toOpaque()), tag: 0)
    }

    /// Tells whoever is to be told. To be called exactly once, after all state has changed: what is called may write,
    /// flush or close.
    @inline(__always)
    func complete(_ result: WriteResult) {
        if kind != .none { tell(result, onLoop: true) }
    }

    /// The same when the loop has ended, on any thread.
    func completeWithoutLoop(_ result: WriteResult) { tell(result, onLoop: false) }

    @inline(never)
    private func tell(_ result: WriteResult, onLoop: Bool) {
        if kind == .continuation {
            unsafeBitCast(word, to: UnsafeContinuation<WriteResult, Never>.self).resume(returning: result)
            return
        }
        guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
        switch kind {
        case .none, .continuation: break
        case .handler, .writer:
            let context = Unmanaged<ChannelContext>.fromOpaque(pointer)
            context._withUnsafeGuaranteedRef { $0.handler.writeCompleted($0, tag: tag, result: result) }
            if kind == .writer { ChannelContext.letGo(context, onLoop: onLoop) } else { context.release() }
        case .closure:
            Unmanaged<ClosureBox>.fromOpaque(pointer).takeRetainedValue().body(result)
        case .closeOnFailure:
            let channel = Unmanaged<Channel>.fromOpaque(pointer).takeRetainedValue()
            if result != nil { channel.close(.immediate) }
        case .several:
            for one in Unmanaged<List>.fromOpaque(pointer).takeRetainedValue().all { one.completeAnywhere(result) }
        }
    }

    /// As ``complete(_:)``, for promises that users complete or drop, on whatever thread that happens: a handler is told on
    /// its loop all the same, as long as there is one.
    func completeAnywhere(_ result: WriteResult) {
        guard kind == .handler || kind == .writer, let pointer = UnsafeRawPointer(bitPattern: word) else {
            return complete(result)
        }
        let loop = Unmanaged<ChannelContext>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.eventLoop }
        if loop.isCurrent { complete(result) } else { loop.post(LateCompletion(self, result)) }
    }

    /// One that tells this one and then `other`.
    func joined(with other: WriteCompletion) -> WriteCompletion {
        guard other.kind != .none else { return self }
        guard kind != .none else { return other }
        // A list that grows, because a chain of very many would overflow the stack.
        let list = takeList() ?? List([self])
        list.all.append(other)
        return WriteCompletion(kind: .several, word: UInt(bitPattern: Unmanaged.passRetained(list).toOpaque()), tag: 0)
    }

    private func takeList() -> List? {
        guard kind == .several, let pointer = UnsafeRawPointer(bitPattern: word) else { return nil }
        return Unmanaged<List>.fromOpaque(pointer).takeRetainedValue()
    }

    /// Tells how far a write has come. Only for completions that want it.
    @inline(never)
    func report(_ progress: WriteProgress) {
        guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
        switch kind {
        case .handler:
            Unmanaged<ChannelContext>.fromOpaque(pointer)._withUnsafeGuaranteedRef {
                $0.handler.writeProgressed($0, tag: tag, progress: progress)
            }
        case .closure:
            Unmanaged<ClosureBox>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.progress?(progress) }
        case .none, .writer, .continuation, .closeOnFailure, .several: break
        }
    }

    private final class List {
        var all: [WriteCompletion]
        init(_ all: [WriteCompletion]) { self.all = all }
    }

    private final class ClosureBox {
        let body: @Sendable (WriteResult) -> Void
        let progress: (@Sendable (WriteProgress) -> Void)?
        init(_ body: @escaping @Sendable (WriteResult) -> Void, _ progress: (@Sendable (WriteProgress) -> Void)?) {
            self.body = body
            self.progress = progress
        }
    }
}

/// Tells it on the loop, later; on this thread when there is no loop any more.
final class LateCompletion: LoopWork {
    private let completion: WriteCompletion
    private let result: WriteResult

    init(_ completion: WriteCompletion, _ result: WriteResult) {
        self.completion = completion
        self.result = result
    }

    override func run(on loop: EventLoop) { completion.complete(result) }
    override func reject() { completion.completeWithoutLoop(result) }
}
