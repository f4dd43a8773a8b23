/// How a write ended: `nil` means that the kernel has accepted every byte of it. That is not yet the peer's word.
public typealias WriteResult = TransportError?

/// Who is told how a write ended, in two words and without an allocation where the caller needs none.
struct WriteCompletion {
    enum Kind: UInt8 {
        /// Nobody.
        case none
        /// The handler of the context that wrote: ``ChannelHandler/writeCompleted(_:tag:result:)``.
        case handler
        /// A closure in a box.
        case closure
        /// A task that awaits.
        case continuation
        /// The channel, which closes when the write failed (P4).
        case closeOnFailure
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
        if kind != .none { tell(result) }
    }

    @inline(never)
    private func tell(_ result: WriteResult) {
        if kind == .continuation {
            unsafeBitCast(word, to: UnsafeContinuation<WriteResult, Never>.self).resume(returning: result)
            return
        }
        guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
        switch kind {
        case .none, .continuation: break
        case .handler:
            let context = Unmanaged<ChannelContext>.fromOpaque(pointer)
            context._withUnsafeGuaranteedRef { $0.handler.writeCompleted($0, tag: tag, result: result) }
            context.release()
        case .closure:
            Unmanaged<ClosureBox>.fromOpaque(pointer).takeRetainedValue().body(result)
        case .closeOnFailure:
            let channel = Unmanaged<Channel>.fromOpaque(pointer).takeRetainedValue()
            if result != nil { channel.close(.immediate) }
        }
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
        case .none, .continuation, .closeOnFailure: break
        }
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
