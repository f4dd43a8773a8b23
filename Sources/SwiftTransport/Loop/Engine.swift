internal import CTransport

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
public enum Machine {
    /// Kernel, engine, features and the cause when io_uring is not to be had, in one line.
    public static var report: String {
        withUnsafePointer(to: ct_probe().pointee.line) {
            $0.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
        }
    }

    /// Whether io_uring, as this library uses it, works here.
    public static var hasURing: Bool { ct_probe().pointee.uring }

    /// Why io_uring is not to be had; `nil` when it is.
    public static var uringFailure: TransportError? {
        hasURing ? nil : TransportError(ct_probe().pointee.failure)
    }
}
