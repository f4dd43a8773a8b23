/// How a write ended: `nil` means that the kernel has accepted every byte of it. That is not yet the peer's word.
public typealias WriteResult = TransportError?

/// Who is told how a write ended, in one word and without an allocation where the caller needs none.
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
    }

    let kind: Kind
    let word: UInt
    let tag: UInt64

    static let none = WriteCompletion(kind: .none, word: 0, tag: 0)

    static func handler(_ context: ChannelContext, tag: UInt64) -> WriteCompletion {
        WriteCompletion(kind: .handler, word: UInt(bitPattern: Unmanaged.passRetained(context).toOpaque()), tag: tag)
    }

    static func closure(_ body: @escaping @Sendable (WriteResult) -> Void) -> WriteCompletion {
        let box = Unmanaged.passRetained(ClosureBox(body))
        return WriteCompletion(kind: .closure, word: UInt(bitPattern: box.toOpaque()), tag: 0)
    }

    static func continuation(_ continuation: UnsafeContinuation<WriteResult, Never>) -> WriteCompletion {
        WriteCompletion(kind: .continuation, word: unsafeBitCast(continuation, to: UInt.self), tag: 0)
    }

    /// Tells whoever is to be told. To be called exactly once, after all state has changed: what is called may write,
    /// flush or close.
    @inline(__always)
    func complete(_ result: WriteResult) {
        if kind != .none { tell(result) }
    }

    @inline(never)
    private func tell(_ result: WriteResult) {
        switch kind {
        case .none: break
        case .handler:
            guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
            let context = Unmanaged<ChannelContext>.fromOpaque(pointer)
            context._withUnsafeGuaranteedRef { $0.tellWriteCompleted(tag: tag, result: result) }
            context.release()
        case .closure:
            guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
            Unmanaged<ClosureBox>.fromOpaque(pointer).takeRetainedValue().body(result)
        case .continuation:
            unsafeBitCast(word, to: UnsafeContinuation<WriteResult, Never>.self).resume(returning: result)
        }
    }

    private final class ClosureBox {
        let body: @Sendable (WriteResult) -> Void
        init(_ body: @escaping @Sendable (WriteResult) -> Void) { self.body = body }
    }
}

/// Names a write that may still be cancelled. Eight bytes; a handle of a write that is over does nothing.
public struct WriteHandle: Sendable, Hashable {
    let sequence: UInt64
}
