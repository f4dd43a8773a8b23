internal import CTransport
internal import Synchronization

/// What drives a loop.
public enum Engine: String, Sendable, Hashable, CaseIterable {
    /// Completions: Linux 6.1 and later, where nothing forbids it.
    case uring
    /// Readiness: every Linux.
    case epoll
}

/// Which engine a group should use.
public enum EngineChoice: Sendable, Hashable {
    /// io_uring where it works, which is tried and not guessed; epoll otherwise. The environment variable
    /// `SWIFT_TRANSPORT_ENGINE` (`uring` or `epoll`) decides instead when it is set.
    case automatic
    /// This engine; making the group fails with the cause and the remedy when it is not to be had.
    case only(Engine)
}

/// What this machine can do: the result of the probe, made once per process.
extension Engine {
    /// Whether the engine works here, as this library uses it. epoll always does.
    public var isAvailable: Bool { self == .epoll || ct_probe().pointee.uring }

    /// Why the engine is not to be had; `nil` when it is.
    public var failure: TransportError? { isAvailable ? nil : TransportError(ct_probe().pointee.failure) }

    /// Kernel, engine, features and the cause when io_uring is not to be had, in one line; also that a group had to do without
    /// it all the same, and why. What drives a group says ``EventLoopGroup/report``.
    public static var report: String {
        guard let error = fallback.withLock(\.self) else { return probed }
        return "\(probed); there was no io_uring for a group of this process, which runs on epoll (\(error))"
    }

    private static let fallback = Mutex<TransportError?>(nil)

    static func fellBack(_ error: TransportError) { fallback.withLock { $0 = error } }

    /// What the probe found.
    static var probed: String {
        withUnsafePointer(to: ct_probe().pointee.line) {
            $0.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
        }
    }
}
