#if canImport(Glibc)
internal import Glibc
#endif
internal import CTransport

/// An option of a channel or of its socket.
///
/// Socket options of a listener's children are set once, on the listener, from which the kernel hands them down: they
/// cost nothing per connection.
public struct ChannelOption: Sendable {
    enum Kind: Sendable {
        case waterMark(WaterMark)
        case allowHalfClosure(Bool)
        case integer(level: Int32, name: Int32, value: Int32)
        case linger(Duration?)
    }
    let kind: Kind

    private static func integer(_ level: Int32, _ name: Int32, _ value: Int) -> ChannelOption {
        ChannelOption(kind: .integer(level: level, name: name, value: Int32(clamping: value)))
    }

    /// When the channel becomes unwritable, writable again, and where its queue ends. Default 32 KiB, 64 KiB, 1 MiB.
    public static func waterMark(_ mark: WaterMark) -> ChannelOption { ChannelOption(kind: .waterMark(mark)) }

    /// When the channel becomes unwritable (`high`) and writable again (`low`), in bytes.
    public static func waterMark(low: ByteCount, high: ByteCount, hardLimit: ByteCount? = nil) -> ChannelOption {
        waterMark(WaterMark(low: low, high: high, hardLimit: hardLimit))
    }

    /// Keep the channel open for writing when the peer has finished sending. Default false: then the channel sends what is
    /// queued and closes.
    public static func allowHalfClosure(_ allowed: Bool) -> ChannelOption { ChannelOption(kind: .allowHalfClosure(allowed)) }

    /// TCP_NODELAY. Default true, as in Netty: small writes leave at once. Unix sockets: no effect.
    public static func noDelay(_ on: Bool) -> ChannelOption { integer(Int32(IPPROTO_TCP), TCP_NODELAY, on ? 1 : 0) }

    /// SO_KEEPALIVE. Default false, as in the kernel.
    public static func keepAlive(_ on: Bool) -> ChannelOption { integer(SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0) }

    /// SO_SNDBUF: the kernel's send buffer (it doubles the value). Default: the kernel tunes it itself.
    public static func sendBuffer(_ size: ByteCount) -> ChannelOption { integer(SOL_SOCKET, SO_SNDBUF, size.bytes) }

    /// SO_RCVBUF: the kernel's receive buffer (it doubles the value). Default: the kernel tunes it itself.
    public static func receiveBuffer(_ size: ByteCount) -> ChannelOption { integer(SOL_SOCKET, SO_RCVBUF, size.bytes) }

    /// TCP_USER_TIMEOUT in milliseconds: how long sent data may stay unacknowledged before the kernel gives the connection
    /// up. Default 0: the kernel's retransmission limit, about 15 minutes.
    public static func userTimeout(_ time: Duration) -> ChannelOption {
        integer(Int32(IPPROTO_TCP), 18, Int(clamping: UInt64(0).advanced(by: time) / 1_000_000))
    }

    /// SO_LINGER; `nil` switches it off. Default off, as in the kernel.
    public static func linger(_ time: Duration?) -> ChannelOption { ChannelOption(kind: .linger(time)) }

    /// Any integer option of setsockopt(2), by its numbers.
    public static func raw(level: Int32, name: Int32, value: Int32) -> ChannelOption {
        ChannelOption(kind: .integer(level: level, name: name, value: value))
    }
}

/// The options of a channel, sorted: what concerns the library, shared by all channels of a bootstrap, and what concerns
/// the socket.
final class ChannelConfiguration: Sendable {
    let waterMark: WaterMark
    let allowsHalfClosure: Bool
    let socketOptions: [ChannelOption]

    init(_ options: [ChannelOption] = []) {
        var waterMark = WaterMark()
        var allowsHalfClosure = false
        var socketOptions: [ChannelOption] = [.noDelay(true)]
        for option in options {
            switch option.kind {
            case .waterMark(let mark): waterMark = mark
            case .allowHalfClosure(let allowed): allowsHalfClosure = allowed
            case .integer, .linger: socketOptions.append(option)
            }
        }
        self.waterMark = waterMark
        self.allowsHalfClosure = allowsHalfClosure
        self.socketOptions = socketOptions
    }

    /// Sets the socket's options. TCP's are left out on a Unix domain socket, which has none.
    func apply(to descriptor: Int32, isUnix: Bool) throws(TransportError) {
        for option in socketOptions {
            switch option.kind {
            case .integer(let level, let name, let value):
                if isUnix && level == Int32(IPPROTO_TCP) { continue }
                try checked(.setsockopt, ct_socket_set_int(descriptor, level, name, value))
            case .linger(let time):
                let seconds = time.map { Int32(clamping: $0.components.seconds) }
                try checked(.setsockopt, ct_socket_set_linger(descriptor, seconds != nil, seconds ?? 0))
            case .waterMark, .allowHalfClosure: continue
            }
        }
    }
}
