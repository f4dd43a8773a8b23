internal import CTransport
internal import Glibc

/// The options of a channel, sorted: what concerns the library, shared by all channels of a bootstrap, and what concerns
/// the socket.
final class ChannelConfiguration: Sendable {
    let waterMark: WaterMark
    let overflow: WaterMark.Overflow
    let zeroCopyThreshold: ByteCount?
    let allowsHalfClosure: Bool
    let idle: IdleLimits?
    let socketOptions: [ChannelOption]
    /// close(2) would wait: see ``ChannelOption/linger(_:)``.
    let lingers: Bool
    /// How long a connect may take.
    let connectTimeout: Duration
    private let connectionOptions: [ChannelOption]

    init(_ options: [ChannelOption] = [], connectTimeout: Duration = .seconds(30)) {
        var waterMark = WaterMark()
        var overflow = WaterMark.Overflow.failWrite
        var zeroCopyThreshold: ByteCount?
        var allowsHalfClosure = false
        var lingers = false
        var idle: IdleLimits?
        var socketOptions: [ChannelOption] = [.noDelay(true)]
        for option in options {
            switch option.kind {
            case .waterMark(let mark): waterMark = mark
            case .overflow(let policy): overflow = policy
            case .zeroCopy(let size): zeroCopyThreshold = size
            case .allowHalfClosure(let allowed): allowsHalfClosure = allowed
            case .idle(let limits): idle = limits
            case .linger(let time):
                lingers = time.map { $0 >= .seconds(1) } ?? false
                socketOptions.append(option)
            case .integer: socketOptions.append(option)
            }
        }
        self.waterMark = waterMark
        self.overflow = overflow
        self.zeroCopyThreshold = zeroCopyThreshold
        self.allowsHalfClosure = allowsHalfClosure
        self.socketOptions = socketOptions
        self.lingers = lingers
        self.idle = idle
        self.connectTimeout = connectTimeout
        connectionOptions = socketOptions.filter(\.isPerConnection)
    }

    /// Sets on a connection what it has not got from its listener or has lost in connecting. That the kernel takes it, the
    /// bootstrap has found out.
    func applyConnected(to descriptor: Int32) {
        for option in connectionOptions {
            guard case .integer(let level, let name, let value) = option.kind else { continue }
            _ = ct_socket_set_int(descriptor, level, name, value)
        }
    }

    /// Sets the socket's options. TCP's are left out on a Unix domain socket, which has none.
    func apply(to descriptor: Int32, isUnix: Bool) throws(TransportError) {
        for option in socketOptions {
            switch option.kind {
            case .integer(let level, let name, let value):
                if isUnix && level == Int32(IPPROTO_TCP) { continue }
                try checked(.setsockopt, ct_socket_set_int(descriptor, level, name, value))
            case .linger(let time):
                let seconds = time.map { Int32(clamping: max(0, $0.components.seconds)) }
                try checked(.setsockopt, ct_socket_set_linger(descriptor, seconds != nil, seconds ?? 0))
            case .waterMark, .overflow, .zeroCopy, .allowHalfClosure, .idle: continue
            }
        }
    }
}
