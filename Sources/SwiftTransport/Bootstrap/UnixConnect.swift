internal import CTransport
internal import Glibc

/// A connect to a Unix domain socket: connect(2) itself, which never has to wait for anything but room in the listener's
/// backlog. Where there is none it comes again, at growing intervals, because nothing tells when there is room: io_uring
/// would park a thread of the kernel for each that waits. The loop's thread only.
final class UnixConnect {
    /// The connected descriptor, which is the receiver's, or why there is none.
    typealias Outcome = Result<Int32, TransportError>

    private static let firstPause: Duration = .milliseconds(1)
    private static let longestPause: Duration = .milliseconds(64)

    private let address: SocketAddress
    private let loop: EventLoop
    private let done: (Outcome) -> Void
    private var descriptor: Int32
    private var pause = firstPause
    private var timer: CallbackTimer?

    /// Takes over `descriptor`. `done` is told once, unless it is given up before.
    init(_ descriptor: Int32, to address: SocketAddress, on loop: EventLoop, _ done: @escaping (Outcome) -> Void) {
        self.descriptor = descriptor
        self.address = address
        self.loop = loop
        self.done = done
    }

    func begin() {
        let result = address.withSockaddr { ct_socket_connect_at_once(descriptor, $0, $1) }
        switch result {
        case 0: finish(.success(take()))
        case -EAGAIN: comeAgain()
        default: finish(.failure(TransportError(call: .connect, errno: -result)))
        }
    }

    private func comeAgain() {
        let timer = CallbackTimer { [unowned self] in self.begin() }
        self.timer = timer
        do throws(TransportError) {
            try timer.arm(on: loop, at: loop.turnTime.advanced(by: pause))
            pause = min(pause * 2, Self.longestPause)
        } catch {
            finish(.failure(error.of(.connect)))
        }
    }

    private func finish(_ outcome: Outcome) {
        giveUp()
        done(outcome)
    }

    private func take() -> Int32 {
        defer { descriptor = -1 }
        return descriptor
    }

    func giveUp() {
        timer?.disarm(on: loop)
        timer = nil
        if descriptor >= 0 { closeSocket(take()) }
    }
}
