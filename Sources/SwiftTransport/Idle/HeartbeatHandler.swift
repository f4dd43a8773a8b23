internal import CTransport

/// Keeps a connection alive and notices when it is dead: sends a heartbeat when nothing was sent for a while, and closes the channel when
/// nothing came for a longer while.
///
///     [LengthFieldFrames(), HeartbeatHandler(.fmq, ping: Buffer(Heartbeat.bytes)), Session()]
///
/// The verdict counts from the last byte that came in. That heartbeats leave says nothing about the peer: into a connection that is dead
/// they go for minutes, until a buffer of the kernel is full. So its side must answer, or send heartbeats of its own more often than
/// the verdict takes. While what was sent before is still on its way to the kernel, no heartbeat is put behind it.
public final class HeartbeatHandler: ChannelHandler {
    /// When a heartbeat is sent and when the peer is given up.
    public struct Schedule: Sendable, Hashable {
        /// How long nothing may be sent before a heartbeat is.
        public var write: Duration
        /// How long nothing may come in before the channel is closed. Longer than the peer's `write`.
        public var read: Duration
        /// By which part of itself `write` is shortened at most, by another part for each connection, so that a million clients which
        /// connected together do not beat together. From 0 to 1; default 0.1.
        public var jitter: Double

        /// A schedule; either time is off when it is not above zero.
        public init(write: Duration, read: Duration, jitter: Double = 0.1) {
            self.write = write
            self.read = read
            self.jitter = jitter
        }

        /// Brokers and their clients: 30 s and 70 s.
        public static let fmq = Schedule(write: .seconds(30), read: .seconds(70))
        /// Mobile devices, whose networks forget silent connections after about five minutes: 180 s and 420 s.
        public static let mobilePush = Schedule(write: .seconds(180), read: .seconds(420))
        /// Mobile devices, where energy counts more: 300 s and 700 s.
        public static let mobilePushSparing = Schedule(write: .seconds(300), read: .seconds(700))
    }

    /// None: it is asked for by its place alone.
    public static let interests: ChannelEvents = []

    private let schedule: Schedule
    private let ping: () -> Buffer
    private let log: ((String) -> Void)?

    /// - Parameters:
    ///   - schedule: when.
    ///   - ping: what a heartbeat is. It is written from this handler's place, so through the handlers before it.
    ///   - log: gets a line when a limit is over: `Channel write idled: [id: 0x2a, L:/10.0.0.1:7000 - R:/10.0.0.2:32768]`, and the same with
    ///     `read`, followed by `, channel will be closed`. On the loop, so it must not wait. Default: nobody.
    public init(_ schedule: Schedule, ping: @autoclosure @escaping () -> Buffer, log: ((String) -> Void)? = nil) {
        self.schedule = schedule
        self.ping = ping
        self.log = log
    }

    /// Begins to watch.
    public func handlerAdded(_ context: ChannelContext) {
        let part = context.eventLoop.draw() * min(1, max(0, schedule.jitter))
        context.setIdleLimits(IdleLimits(reader: schedule.read, writer: schedule.write * (1 - part)))
    }

    /// A limit is over.
    public func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) {
        let channel = context.channel
        guard event.state == .writer else {
            log?("Channel read idled: \(channel.nameForLogs), channel will be closed")
            channel.failForSilence(.receive, "nothing came from %@ for \(schedule.read)")
            return
        }
        log?("Channel write idled: \(channel.nameForLogs)")
        if !channel.hasFlushedBytes { context.writeAndFlush(ping()) }
    }
}

extension Channel {
    /// Its number and its two ends, as Netty writes them. The channel's loop.
    var nameForLogs: String {
        let number =
            slot.map { String(UInt64($0.pointee.index) << 24 | UInt64($0.pointee.generation), radix: 16) } ?? "0"
        let (local, remote) = (knownLocalAddress?.description ?? "?", knownRemoteAddress?.description ?? "?")
        return "[id: 0x\(number), L:/\(local) - R:/\(remote)]"
    }
}

extension EventLoop {
    /// A number from 0 up to 1. It depends on nothing but the loop, its time and how often it was asked, so that runs of a simulated
    /// network repeat.
    func draw() -> Double {
        assertOnLoop()
        if own.random == 0 { own.random = turnTime &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15 | 1 }
        own.random = own.random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(own.random >> 11) / Double(UInt64(1) << 53)
    }
}
