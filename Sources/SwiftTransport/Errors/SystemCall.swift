internal import CTransport

/// The system calls, and the operations named after them, that an error can come from.
public enum SystemCall: Sendable, Hashable, CaseIterable {
    /// No system call had a part in it.
    case none
    case socket, bind, listen, accept, connect, receive, send, shutdown, setsockopt, getsockopt, getsockname,
        getaddrinfo
    case eventfd, ioUringSetup, ioUringRegister, ioUringEnter, ioUringSelfTest, epollCreate, epollCtl, pthreadCreate,
        mmap
    case open, fstat, pread

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
