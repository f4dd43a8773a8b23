internal import CTransport
internal import Glibc

/// Why something failed: what it means (`code`), which system call said so (`call`) and how (`errno`).
///
/// A plain value of eight bytes: throwing it and handing it to a completion allocates nothing. Its `description`
/// names the likely cause and the remedy.
public struct TransportError: Error, Sendable, Hashable {
    /// What happened, in terms of this library.
    public enum Code: UInt8, Sendable, Hashable {
        /// The operation needs an open channel. If a failure closed it, `call` and `errno` are that first cause.
        case closed
        /// The channel is not connected yet.
        case notYetConnected
        /// No handler turned the message into bytes. Nothing else of the channel is affected.
        case unencodableMessage
        /// A handler let the promise of the write go, without handing it on or completing it.
        case promiseDropped
        /// The loop's budget for queued bytes is used up. Nothing of this write was queued.
        case loopBudgetExhausted
        /// The channel's output was shut down; it still reads.
        case outputShutDown
        /// The write was cancelled before it was flushed; nothing of it was sent.
        case cancelled
        /// The channel's outbound queue is at its hard limit. Nothing of this write was queued.
        case outboundQueueFull
        /// The time allowed was over.
        case timedOut
        /// The peer refused the connection.
        case connectionRefused
        /// The connection broke: reset by the peer, or given up by the kernel.
        case connectionLost
        /// The peer or its network cannot be reached.
        case unreachable
        /// The local address is taken.
        case addressInUse
        /// The host name could not be resolved, or the address is not valid.
        case invalidAddress
        /// The process or the system has no descriptors left.
        case descriptorLimit
        /// Out of memory, or of memory that may be locked.
        case outOfMemory
        /// The engine that was asked for is not to be had on this machine.
        case engineUnavailable
        /// This kernel or this kind of socket does not know the option.
        case unsupportedOption
        /// The event loop has shut down.
        case loopShutDown
        /// Permission denied by the system.
        case notPermitted
        /// A system call failed in a way that has no code of its own: see `call` and `errno`.
        case system
    }

    /// What happened.
    public let code: Code
    /// The system call that reported it; `.none` when none was involved.
    public let call: SystemCall
    /// The error number of `call`; 0 when there is none. For `.getaddrinfo` it is the negative `EAI_` code.
    public let errno: Int32

    /// An error as the library makes it; public so that tests and wrappers can make one too.
    public init(_ code: Code, call: SystemCall = .none, errno: Int32 = 0) {
        self.code = code
        self.call = call
        self.errno = errno
    }

    /// Chooses the code that fits a failed system call.
    init(call: SystemCall, errno: Int32) {
        self.init(Self.code(of: call, errno), call: call, errno: errno)
    }

    init(_ failure: ct_failure) {
        self.init(
            call: SystemCall(rawValue: UInt8(truncatingIfNeeded: failure.call.rawValue)) ?? .none, errno: failure.error)
    }

    /// An io_uring of a loop could not be made.
    var isOfIOUring: Bool { call == .ioUringSetup || call == .ioUringRegister }

    /// What a write gets on a channel that is closed, with the first cause kept.
    static func closed(by cause: TransportError?) -> TransportError {
        TransportError(.closed, call: cause?.call ?? .none, errno: cause?.errno ?? 0)
    }

    private static func code(of call: SystemCall, _ errno: Int32) -> Code {
        switch call {
        case .ioUringSetup, .ioUringRegister, .ioUringSelfTest, .epollCreate:
            return errno == ENOMEM
                ? .outOfMemory : errno == EMFILE || errno == ENFILE ? .descriptorLimit : .engineUnavailable
        case .getaddrinfo: return .invalidAddress
        case .setsockopt, .getsockopt:
            if errno == ENOPROTOOPT || errno == EOPNOTSUPP || errno == EINVAL { return .unsupportedOption }
        default: break
        }
        switch errno {
        case ECONNREFUSED: return .connectionRefused
        case ECONNRESET, EPIPE, ECONNABORTED: return .connectionLost
        case ETIMEDOUT: return call == .connect ? .timedOut : .connectionLost
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN: return .unreachable
        case EADDRINUSE: return .addressInUse
        case EINVAL where call == .bind || call == .connect: return .invalidAddress
        case EADDRNOTAVAIL, EAFNOSUPPORT, ENAMETOOLONG, ENODEV, ENOENT: return .invalidAddress
        case EMFILE, ENFILE: return .descriptorLimit
        case ENOMEM, ENOBUFS: return .outOfMemory
        case EACCES, EPERM: return .notPermitted
        default: return .system
        }
    }
}

/// The system calls an error can come from.
public enum SystemCall: UInt8, Sendable, Hashable {
    // The order mirrors enum ct_call in CTransport.h.
    case none, socket, bind, listen, accept, connect, receive, send, shutdown, setsockopt, getsockopt, getsockname
    case getaddrinfo, eventfd, ioUringSetup, ioUringRegister, ioUringEnter, ioUringSelfTest, epollCreate, epollCtl
    case pthreadCreate, mmap
    // From here on calls that Swift makes itself.
    case open, pread

    /// The call's name as its manual page has it.
    public var name: String {
        switch self {
        case .none: "no call"
        case .receive: "recv"
        case .ioUringSetup: "io_uring_setup"
        case .ioUringRegister: "io_uring_register"
        case .ioUringEnter: "io_uring_enter"
        case .ioUringSelfTest: "io_uring self-test"
        case .epollCreate: "epoll_create1"
        case .epollCtl: "epoll_ctl"
        case .pthreadCreate: "pthread_create"
        default: "\(self)"
        }
    }
}
