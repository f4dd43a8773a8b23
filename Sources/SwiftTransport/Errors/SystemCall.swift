internal import CTransport

/// The system calls, and the operations named after them, that an error can come from.
public enum SystemCall: Sendable, Hashable, CaseIterable {
    /// No system call had a part in it.
    case none
    /// socket(2).
    case socket
    /// bind(2), or what leads to it.
    case bind
    /// listen(2).
    case listen
    /// accept(2), or taking over what it returned.
    case accept
    /// connect(2), or what leads to it: a look-up, a time limit.
    case connect
    /// recv(2), as the engine does it.
    case receive
    /// send(2), as the engine does it; also a write that was never handed to the kernel.
    case send
    /// shutdown(2).
    case shutdown
    /// setsockopt(2).
    case setsockopt
    /// getsockopt(2).
    case getsockopt
    /// getsockname(2).
    case getsockname
    /// getaddrinfo(3): its error numbers are its own, and negative.
    case getaddrinfo
    /// eventfd(2): what wakes a loop, and what tells of signals.
    case eventfd
    /// io_uring_setup(2).
    case ioUringSetup
    /// io_uring_register(2).
    case ioUringRegister
    /// io_uring_enter(2).
    case ioUringEnter
    /// The probe that receives bytes through a ring before io_uring is chosen.
    case ioUringSelfTest
    /// epoll_create1(2).
    case epollCreate
    /// epoll_ctl(2).
    case epollCtl
    /// pthread_create(3).
    case pthreadCreate
    /// mmap(2).
    case mmap
    /// open(2), of a file to be sent.
    case open
    /// fstat(2), of a file to be sent; also what it said of one that cannot be.
    case fstat
    /// pread(2), of a file that is sent.
    case pread

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

    /// What the core calls it. `ct_call` is a closed enumeration: a case that is missing here does not compile.
    init(_ call: ct_call) {
        switch call {
        case .CT_CALL_NONE: self = .none
        case .CT_CALL_SOCKET: self = .socket
        case .CT_CALL_BIND: self = .bind
        case .CT_CALL_LISTEN: self = .listen
        case .CT_CALL_ACCEPT: self = .accept
        case .CT_CALL_CONNECT: self = .connect
        case .CT_CALL_RECEIVE: self = .receive
        case .CT_CALL_SEND: self = .send
        case .CT_CALL_SHUTDOWN: self = .shutdown
        case .CT_CALL_SETSOCKOPT: self = .setsockopt
        case .CT_CALL_GETSOCKOPT: self = .getsockopt
        case .CT_CALL_GETSOCKNAME: self = .getsockname
        case .CT_CALL_GETADDRINFO: self = .getaddrinfo
        case .CT_CALL_EVENTFD: self = .eventfd
        case .CT_CALL_IO_URING_SETUP: self = .ioUringSetup
        case .CT_CALL_IO_URING_REGISTER: self = .ioUringRegister
        case .CT_CALL_IO_URING_ENTER: self = .ioUringEnter
        case .CT_CALL_IO_URING_SELF_TEST: self = .ioUringSelfTest
        case .CT_CALL_EPOLL_CREATE: self = .epollCreate
        case .CT_CALL_EPOLL_CTL: self = .epollCtl
        case .CT_CALL_PTHREAD_CREATE: self = .pthreadCreate
        case .CT_CALL_MMAP: self = .mmap
        }
    }
}
