import CTransport
import Glibc
import Testing

@testable import SwiftTransport

/// What an error says of itself.
@Suite struct ErrorTextTests {
    @Test func oneLineNamesSubjectMeaningCallCauseAndRemedy() {
        let error = TransportError(call: .connect, errno: ECONNREFUSED, subject: "[::1]:7000")
        #expect(
            error.description == "[::1]:7000: the connection was refused [connect: Connection refused, errno 111]. "
                + "Nothing listens at that address, or a firewall rejects: check host, port and the service")
        #expect(TransportError(.loopShutDown, call: .bind).description == "the event loop has shut down [bind]")
        #expect(TransportError(.loopShutDown).description == "the event loop has shut down")
    }

    /// Names come from users and peers.
    @Test func aSubjectCannotForgeALine() {
        let error = TransportError(.invalidAddress, subject: "a\nb\0c\u{1B}[31m\u{202E}é")
        #expect(error.subject == #"a\nb\0c\u{1B}[31m\u{202E}é"#)
    }

    @Test func whatWasCancelledIsSaid() {
        let texts = [SystemCall.connect, .receive, .send, .getaddrinfo, .bind, .none].map {
            String(TransportError(.cancelled, call: $0).description.prefix { $0 != "[" })
        }
        #expect(
            texts == [
                "the connect was cancelled ", "the read was cancelled ", "the write was cancelled ",
                "the look-up was cancelled ", "the bind was cancelled ", "the operation was cancelled",
            ])
    }

    @Test func aSubjectIsKeptAndTheMoreExactOneCounts() {
        let error = TransportError(call: .connect, errno: ECONNRESET, subject: "127.0.0.1:80")
        #expect(error.about("localhost:80").subject == "127.0.0.1:80")
        #expect(TransportError(.timedOut).about("localhost:80").subject == "localhost:80")
        #expect(
            error.of(.bind) == TransportError(.connectionLost, call: .bind, errno: ECONNRESET, subject: "127.0.0.1:80"))
        #expect(TransportError.closed(by: error).subject == "127.0.0.1:80")
        #expect(error != TransportError(call: .connect, errno: ECONNRESET))
    }

    /// A failing name service is told apart from a failing system.
    @Test func ofTheResolverTheErrorNumberOfTheSystemIsKept() {
        #expect(TransportError(call: .getaddrinfo, errno: EAI_NONAME).code == .invalidAddress)
        #expect(TransportError(call: .getaddrinfo, errno: EAI_MEMORY).code == .outOfMemory)
        let full = TransportError(call: .getaddrinfo, errno: EMFILE)
        #expect(full.code == .descriptorLimit)
        #expect(full.description.contains("[getaddrinfo: Too many open files, errno 24]"))
        #expect(TransportError(call: .getaddrinfo, errno: EAI_AGAIN).description.contains("No name server answered"))
    }

    /// One reference beside the plain part; `nil` needs no room of its own.
    @Test func anErrorIsSmall() {
        #expect(MemoryLayout<TransportError>.size == 16)
        #expect(MemoryLayout<WriteResult>.size == 16)
    }

    /// What the core calls a system call, and what an error calls it.
    @Test func everyCallOfTheCoreHasItsName() {
        let calls: [(ct_call, SystemCall, String)] = [
            (.CT_CALL_NONE, .none, "no call"), (.CT_CALL_SOCKET, .socket, "socket"), (.CT_CALL_BIND, .bind, "bind"),
            (.CT_CALL_LISTEN, .listen, "listen"), (.CT_CALL_ACCEPT, .accept, "accept"),
            (.CT_CALL_CONNECT, .connect, "connect"), (.CT_CALL_RECEIVE, .receive, "recv"),
            (.CT_CALL_SEND, .send, "send"), (.CT_CALL_SHUTDOWN, .shutdown, "shutdown"),
            (.CT_CALL_SETSOCKOPT, .setsockopt, "setsockopt"), (.CT_CALL_GETSOCKOPT, .getsockopt, "getsockopt"),
            (.CT_CALL_GETSOCKNAME, .getsockname, "getsockname"),
            (.CT_CALL_GETADDRINFO, .getaddrinfo, "getaddrinfo"), (.CT_CALL_EVENTFD, .eventfd, "eventfd"),
            (.CT_CALL_IO_URING_SETUP, .ioUringSetup, "io_uring_setup"),
            (.CT_CALL_IO_URING_REGISTER, .ioUringRegister, "io_uring_register"),
            (.CT_CALL_IO_URING_ENTER, .ioUringEnter, "io_uring_enter"),
            (.CT_CALL_IO_URING_SELF_TEST, .ioUringSelfTest, "io_uring self-test"),
            (.CT_CALL_EPOLL_CREATE, .epollCreate, "epoll_create1"), (.CT_CALL_EPOLL_CTL, .epollCtl, "epoll_ctl"),
            (.CT_CALL_PTHREAD_CREATE, .pthreadCreate, "pthread_create"), (.CT_CALL_MMAP, .mmap, "mmap"),
        ]
        for (core, call, name) in calls {
            #expect(SystemCall(core) == call)
            #expect(call.name == name)
            #expect(TransportError(ct_failure(error: EINVAL, call: core)).call == call)
        }
        // All there are, none twice: the rest is Swift's own.
        #expect(Set(calls.map(\.0.rawValue)) == Set(0..<UInt32(calls.count)))
        #expect(Set(SystemCall.allCases).subtracting(calls.map(\.1)) == [.open, .fstat, .pread])
    }
}
