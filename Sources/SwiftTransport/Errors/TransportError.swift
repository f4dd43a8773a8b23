internal import CTransport
internal import Glibc

/// Why something failed: what it means (`code`), which operation it was (`call`), how the system put it (`errno`), and which
/// address, host or file it was about (`subject`).
///
/// Sixteen bytes, of which one reference, to the subject. An error without one, and a ``WriteResult`` of `nil`, allocates
/// nothing and counts no reference. Its `description` names the likely cause and the remedy.
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
        /// The operation was cancelled; `call` tells which. Of a write (`.send`) that was not flushed yet nothing was sent.
        case cancelled
        /// Another task is reading the connection already.
        case alreadyReading
        /// The channel is connected already, or somebody connects it.
        case alreadyConnected
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
        /// The file cannot be sent: it is no regular one, not open for reading, or shorter than the region.
        case unsuitableFile
        /// The process or the system has no descriptors left.
        case descriptorLimit
        /// Out of memory, or of memory that may be locked.
        case outOfMemory
        /// The engine that was asked for is not to be had on this machine.
        case engineUnavailable
        /// This kernel or this kind of socket does not know the option.
        case unsupportedOption
        /// A bootstrap was given something twice of which it can have one only, or a server's connections are served already;
        /// `subject` is the method.
        case conflictingConfiguration
        /// A handler, or what makes handlers, failed with an error of its own: ``TransportError/underlying``.
        case handlerFailed
        /// The event loop has shut down.
        case loopShutDown
        /// A graceful shutdown has begun, and nothing more is read.
        case shuttingDown
        /// Permission denied by the system.
        case notPermitted
        /// A system call failed in a way that has no code of its own: see `call` and `errno`.
        case system
    }

    /// What happened.
    public let code: Code
    /// The system call that reported it, or the operation that did not come about; `.none` when neither was involved.
    public let call: SystemCall
    /// The error number of `call`; 0 when there is none. For `.getaddrinfo` it is the negative `EAI_` code or, where that
    /// only says that a system call failed (`EAI_SYSTEM`), that call's positive error number.
    public let errno: Int32
    /// What it was about: `127.0.0.1:80`, `localhost:80`, `localhost at 127.0.0.1:80`, `unix:/run/a.sock`, the path of a file.
    /// What is not printable is escaped. `nil` when it was about nothing that has a name of its own.
    public var subject: String? { about?.text }
    /// The error of your own behind `.handlerFailed`, as it was thrown or sent through the pipeline.
    public var underlying: (any Error)? { about?.underlying }
    private let about: ErrorSubject?

    /// An error as the library makes it; public so that tests and wrappers can make one too.
    public init(_ code: Code, call: SystemCall = .none, errno: Int32 = 0, subject: String? = nil) {
        self.init(code, call, errno, subject.map { ErrorSubject($0) })
    }

    /// Chooses the code that fits a failed system call.
    init(call: SystemCall, errno: Int32, subject: String? = nil) {
        self.init(Self.code(of: call, errno), call: call, errno: errno, subject: subject)
    }

    init(_ failure: ct_failure) {
        self.init(call: SystemCall(failure.call), errno: failure.error)
    }

    /// What somebody else failed with, as an error of this library: one that is one stays as it is.
    init(wrapping error: any Error, call: SystemCall) {
        if let error = error as? TransportError {
            self = error
        } else {
            self.init(.handlerFailed, call, 0, ErrorSubject(nil, underlying: error))
        }
    }

    private init(_ code: Code, _ call: SystemCall, _ errno: Int32, _ about: ErrorSubject?) {
        self.code = code
        self.call = call
        self.errno = errno
        self.about = about
    }

    /// The text of ``underlying``.
    var cause: String { about?.cause ?? "" }

    /// The same error, about `subject`; what it was about before is the more exact.
    func about(_ subject: @autoclosure () -> String) -> TransportError {
        guard about?.text == nil else { return self }
        return TransportError(code, call, errno, ErrorSubject(subject(), underlying: underlying))
    }

    /// The same error, as one of the operation `call`.
    func of(_ call: SystemCall) -> TransportError { TransportError(code, call, errno, about) }

    /// An io_uring of a loop could not be made.
    var isOfIOUring: Bool { call == .ioUringSetup || call == .ioUringRegister }

    /// What a write gets on a channel that is closed, with the first cause kept.
    static func closed(by cause: TransportError?) -> TransportError {
        TransportError(.closed, cause?.call ?? .none, cause?.errno ?? 0, cause?.about)
    }

    private static func code(of call: SystemCall, _ errno: Int32) -> Code {
        switch call {
        case .ioUringSetup, .ioUringRegister, .ioUringSelfTest, .epollCreate:
            return errno == ENOMEM
                ? .outOfMemory : errno == EMFILE || errno == ENFILE ? .descriptorLimit : .engineUnavailable
        case .getaddrinfo where errno == EAI_MEMORY: return .outOfMemory
        case .getaddrinfo where errno < 0: return .invalidAddress
        case .setsockopt, .getsockopt:
            if errno == ENOPROTOOPT || errno == EOPNOTSUPP || errno == EINVAL { return .unsupportedOption }
        default: break
        }
        switch errno {
        case ECONNREFUSED: return .connectionRefused
        case ECONNRESET, EPIPE, ECONNABORTED, ENOTCONN: return .connectionLost
        case ETIMEDOUT: return call == .connect || call == .getaddrinfo ? .timedOut : .connectionLost
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN: return .unreachable
        case EADDRINUSE: return .addressInUse
        case EINVAL where call == .bind || call == .connect: return .invalidAddress
        case EADDRNOTAVAIL, EAFNOSUPPORT, EPROTOTYPE, ENODEV: return .invalidAddress
        case ENAMETOOLONG, ENOENT, ENOTDIR, ELOOP: return .invalidAddress
        case ENXIO where call == .open: return .unsuitableFile
        case EMFILE, ENFILE: return .descriptorLimit
        case ENOMEM, ENOBUFS: return .outOfMemory
        case EACCES, EPERM: return .notPermitted
        default: return .system
        }
    }
}

/// What is behind ``TransportError/subject`` and ``TransportError/underlying``, made when something fails and shared by all
/// copies of the error.
private final class ErrorSubject: Sendable, Hashable {
    let text: String?
    let underlying: (any Error)?

    init(_ text: String?, underlying: (any Error)? = nil) {
        self.text = text.map { Self.printable($0) }
        self.underlying = underlying
    }

    static func == (left: ErrorSubject, right: ErrorSubject) -> Bool {
        left.text == right.text && left.cause == right.cause
    }
    func hash(into hasher: inout Hasher) {
        hasher.combine(text)
        hasher.combine(cause)
    }

    /// Errors of others need not be comparable: those that say the same are the same.
    var cause: String? { underlying.map { Self.printable("\($0)") } }

    /// Names come from users and peers: none may forge a line of a log, or hide behind a zero byte.
    private static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnprintable) else { return text }
        return text.unicodeScalars.reduce(into: "") {
            $0 += isUnprintable($1) ? $1.escaped(asASCII: true) : String($1)
        }
    }

    private static func isUnprintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
