internal import Glibc

/// An option of a channel or of its socket.
///
/// Socket options of a listener's children are set once, on the listener, from which the kernel hands them down: they
/// cost nothing per connection.
public struct ChannelOption: Sendable {
    enum Kind: Sendable {
        case waterMark(WaterMark)
        case overflow(WaterMark.Overflow)
        case allowHalfClosure(Bool)
        case zeroCopy(ByteCount?)
        case integer(level: Int32, name: Int32, value: Int32)
        case linger(Duration?)
        case idle(IdleLimits)
    }
    let kind: Kind
    /// The kernel may neither hand it down from a listener nor keep it across a connect: set on every connection anew.
    var isPerConnection = false

    private static func integer(_ level: Int32, _ name: Int32, _ value: Int) -> ChannelOption {
        ChannelOption(kind: .integer(level: level, name: name, value: Int32(clamping: value)))
    }

    /// When the channel becomes unwritable, writable again, and where its queue ends. Default 32 KiB, 64 KiB, 1 MiB.
    public static func waterMark(_ mark: WaterMark) -> ChannelOption { ChannelOption(kind: .waterMark(mark)) }

    /// When the channel becomes unwritable (`high`) and writable again (`low`), in bytes.
    public static func waterMark(low: ByteCount, high: ByteCount, hardLimit: ByteCount? = nil) -> ChannelOption {
        waterMark(WaterMark(low: low, high: high, hardLimit: hardLimit))
    }

    /// What happens to a write beyond the hard limit. Default `.failWrite`; a write that nobody waits for always closes the
    /// channel, because its stream would have a hole that nobody knows of.
    public static func atHardLimit(_ policy: WaterMark.Overflow) -> ChannelOption {
        ChannelOption(kind: .overflow(policy))
    }

    /// Send writes of at least this size without copying them into the kernel, where that is possible (kernel 6.1, never
    /// on loopback and Unix sockets, where it is slower). At least 32 KiB. Default `nil`: off. The channel gives it up by
    /// itself when the kernel has no memory for it, does not know it, or copies all the same.
    public static func zeroCopy(from size: ByteCount?) -> ChannelOption { ChannelOption(kind: .zeroCopy(size)) }

    /// Keep the channel open for writing when the peer has finished sending, and until somebody closes it: also when both directions
    /// have ended. Default false: then the channel sends what is queued and closes.
    public static func allowHalfClosure(_ allowed: Bool) -> ChannelOption {
        ChannelOption(kind: .allowHalfClosure(allowed))
    }

    /// Tell the handlers when nothing happens for too long: ``Channel/setIdleLimits(_:)`` from the moment in which the channel is active.
    /// Default: no limits.
    public static func idle(_ limits: IdleLimits) -> ChannelOption { ChannelOption(kind: .idle(limits)) }

    /// TCP_NODELAY. Default true, as in Netty: small writes leave at once. Unix sockets: no effect.
    public static func noDelay(_ on: Bool) -> ChannelOption { integer(Int32(IPPROTO_TCP), TCP_NODELAY, on ? 1 : 0) }

    /// SO_KEEPALIVE. Default false, as in the kernel.
    public static func keepAlive(_ on: Bool) -> ChannelOption { integer(SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0) }

    /// SO_KEEPALIVE with its times in whole seconds: probes begin after `idle` without traffic, come every `interval`, and
    /// after `count` of them without an answer the connection is lost. They do not run while data is unacknowledged: for
    /// that there is ``userTimeout(_:)``. Default: off; the kernel's times are 2 h, 75 s and 9.
    public static func keepAlive(idle: Duration, interval: Duration, count: Int) -> [ChannelOption] {
        [
            keepAlive(true), integer(Int32(IPPROTO_TCP), TCP_KEEPIDLE, max(1, Int(clamping: idle.components.seconds))),
            integer(Int32(IPPROTO_TCP), TCP_KEEPINTVL, max(1, Int(clamping: interval.components.seconds))),
            integer(Int32(IPPROTO_TCP), TCP_KEEPCNT, max(1, count)),
        ]
    }

    /// TCP_QUICKACK: acknowledge at once for now; the kernel may switch it off again. Default on, as in the kernel.
    public static func quickAcknowledge(_ on: Bool) -> ChannelOption {
        raw(level: Int32(IPPROTO_TCP), name: TCP_QUICKACK, value: on ? 1 : 0)
    }

    /// TCP_NOTSENT_LOWAT: how much the kernel takes that it has not sent yet. Less of it means that the queue here, which can
    /// still be cancelled and measured, holds more. Default: no limit but the send buffer.
    public static func unsentLimit(_ size: ByteCount) -> ChannelOption {
        integer(Int32(IPPROTO_TCP), SystemNumber.tcpNotSentLowat, size.bytes)
    }

    /// TCP_RTO_MAX_MS (kernel 6.15): the longest time between two retransmissions, 1 to 120 s. Default 120 s, which is why a
    /// dead peer takes 15 minutes to notice. Older kernels: `.unsupportedOption`.
    public static func maximumRetransmissionTimeout(_ time: Duration) -> ChannelOption {
        integer(Int32(IPPROTO_TCP), SystemNumber.tcpRTOMaxMilliseconds, milliseconds(time))
    }

    /// SO_REUSEPORT. Servers with several loops set it themselves. Default off.
    public static func reusePort(_ on: Bool) -> ChannelOption { integer(SOL_SOCKET, SO_REUSEPORT, on ? 1 : 0) }

    /// SO_SNDBUF: the kernel's send buffer (it doubles the value). Default: the kernel tunes it itself.
    public static func sendBuffer(_ size: ByteCount) -> ChannelOption { integer(SOL_SOCKET, SO_SNDBUF, size.bytes) }

    /// SO_RCVBUF: the kernel's receive buffer (it doubles the value). Default: the kernel tunes it itself.
    public static func receiveBuffer(_ size: ByteCount) -> ChannelOption { integer(SOL_SOCKET, SO_RCVBUF, size.bytes) }

    /// TCP_USER_TIMEOUT in milliseconds: how long sent data may stay unacknowledged before the kernel gives the connection
    /// up. Default 0: the kernel's retransmission limit, about 15 minutes.
    public static func userTimeout(_ time: Duration) -> ChannelOption {
        integer(Int32(IPPROTO_TCP), SystemNumber.tcpUserTimeout, milliseconds(time))
    }

    private static func milliseconds(_ time: Duration) -> Int {
        Int(clamping: UInt64(0).advanced(by: time) / 1_000_000)
    }

    /// SO_LINGER in whole seconds, rounded down; `nil` switches it off. Default off, as in the kernel. Closing a channel never waits in
    /// the kernel, where it would hold the loop up: a time above zero is switched off before the descriptor is closed. To
    /// wait for the peer, close with ``CloseMode/drain(within:)``; for zero there is ``CloseMode/reset``.
    public static func linger(_ time: Duration?) -> ChannelOption { ChannelOption(kind: .linger(time)) }

    /// Any integer option of setsockopt(2), by its numbers. Set on the listener and on every connection.
    public static func raw(level: Int32, name: Int32, value: Int32) -> ChannelOption {
        ChannelOption(kind: .integer(level: level, name: name, value: value), isPerConnection: true)
    }
}

/// Numbers of the kernel's interface that Glibc's headers do not show to Swift.
private enum SystemNumber {
    static let tcpUserTimeout: Int32 = 18
    static let tcpNotSentLowat: Int32 = 25
    static let tcpRTOMaxMilliseconds: Int32 = 44
}
