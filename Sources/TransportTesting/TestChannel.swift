public import SwiftTransport

/// A channel without a network, for tests of handlers: what `EmbeddedChannel` is in Netty and SwiftNIO.
///
///     @Test func theServerGreets() throws {
///         let test = try TestChannel(Greeter())
///         try test.peer.send("HELLO wor", inPiecesOf: 1)
///         try test.peer.send("ld\n")
///         #expect(test.peer.takeBytes() == "hello, world\n")
///         try test.advance(by: .seconds(30))                  // takes no time
///         #expect(test.peer.ending == .finished)
///         #expect(try test.finish().isEmpty)
///     }
///
/// It is the channel itself, with its queue, its water marks, its timers and an engine, on a loop and a kernel of its own that do
/// something only inside the calls of the test, on the test's thread. Each call returns when everything has happened that happens
/// now; time stands still but for ``advance(by:)``. So it needs no waiting, and any number of tests may run beside each other.
///
/// The handlers stay the test's: it may look at them between the calls. What it wants to do as the loop, such as changing the
/// pipeline, it does in ``run(_:)``.
///
/// What throws without saying more throws a ``TestChannelError``: `.finished` and `.inUse` for mistakes of the test's, `.endless` when
/// the handlers never come to rest.
public final class TestChannel {
    private let world: TestWorld
    private let tail: TestTail
    /// The channel. What any thread may do with it, the test may; it happens with the next call, ``settle()`` for instance.
    public let channel: Channel
    /// The other side.
    public let peer: TestPeer

    /// A connected channel with these handlers, first to last.
    ///
    /// - Parameters:
    ///   - handlers: what is tested. They have seen ``/SwiftTransport/ChannelHandler/channelActive(_:)`` when this returns.
    ///   - options: of the channel. Default: those of a channel, with a send buffer of the kernel of about 4 KiB.
    ///   - engine: what drives the loop, whatever this machine has. Default io_uring.
    /// - Throws: a ``/SwiftTransport/TransportError`` when the handlers close the channel before it is connected.
    public convenience init(
        _ handlers: any ChannelHandler..., options: [ChannelOption] = [], engine: Engine = .uring
    ) throws {
        try self.init(options: options, engine: engine) { _ in handlers }
    }

    /// A connected channel with handlers that depend on it.
    ///
    /// - Parameters:
    ///   - options: of the channel. Default: those of a channel, with a send buffer of the kernel of about 4 KiB.
    ///   - engine: what drives the loop, whatever this machine has. Default io_uring.
    ///   - make: makes the handlers, first to last, on the loop, before the channel is connected.
    /// - Throws: what `make` throws, as ``/SwiftTransport/TransportError/underlying`` of a ``/SwiftTransport/TransportError`` unless it is
    ///   one; one also when the handlers close the channel before it is connected.
    public init(
        options: [ChannelOption] = [], engine: Engine = .uring, _ make: (Channel) throws -> [any ChannelHandler]
    ) throws {
        let world = TestWorld(engine)
        let tail = TestTail()
        channel = try world.use {
            try world.listen()
            let channel = try Self.makeChannel(options, engine, world) { try make($0) + [tail] }
            let address = try world.address
            try Self.connect(channel, to: address, world)
            world.accept()
            try world.settle()
            return channel
        }
        self.world = world
        self.tail = tail
        peer = TestPeer(world)
    }

    private static func makeChannel(
        _ options: [ChannelOption], _ engine: Engine, _ world: TestWorld,
        _ make: (Channel) throws -> [any ChannelHandler]
    ) throws -> Channel {
        var loopOptions = LoopOptions()
        loopOptions.engine = .only(engine)
        let group = try EventLoopGroup(loops: 1, options: loopOptions)
        return try world.onLoop {
            try withoutActuallyEscaping(make) { make in
                // It is called here and now, on this thread, which is the loop's.
                nonisolated(unsafe) let make = make
                return try ClientBootstrap(group: group)
                    .options([.sendBuffer(ByteCount(TestWorld.buffer / 2))] + options)
                    .handlers { channel in
                        nonisolated(unsafe) let handlers = try make(channel)
                        return handlers
                    }
                    .makeChannel(on: group.loops[0])
            }
        }
    }

    private static func connect(_ channel: Channel, to address: SocketAddress, _ world: TestWorld) throws {
        nonisolated(unsafe) var outcome: TransportError?
        try world.onLoop { channel.connect(to: address, promise: .callback { outcome = $0 }) }
        try world.settle()
        if let outcome { throw outcome }
    }

    deinit { world.finish() }

    /// The loop of the channel. Its ``/SwiftTransport/EventLoop/clock`` tells the test's time.
    public var eventLoop: EventLoop { channel.eventLoop }

    // MARK: As the loop

    /// Does something on the channel's loop, such as changing the ``/SwiftTransport/Channel/pipeline``, and lets happen what comes of it.
    ///
    ///     try test.run { channel in
    ///         channel.pipeline.withContext(of: Session.self) { $0.fireUserEvent(Expired()) }
    ///     }
    ///
    /// - Throws: also what `body` throws, behind what comes of it.
    @discardableResult
    public func run<Answer>(_ body: (Channel) throws -> Answer) throws -> Answer {
        try world.use {
            let answer = try world.onLoop { Swift.Result { try body(channel) } }
            try world.settle()
            return try answer.get()
        }
    }

    /// Lets happen what happens now: what the test asked of ``channel``, and what other threads did.
    public func settle() throws { try world.use { try world.settle() } }

    // MARK: Time

    /// Lets `duration` pass: timers fire in their order, each at its time.
    public func advance(by duration: Duration) throws { try world.use { try world.advance(by: duration) } }

    /// How much time has passed, by ``advance(by:)``.
    public var elapsed: Duration { world.elapsed }

    // MARK: What the handlers passed on

    /// The bytes that the last handler passed on since the last call, in order.
    public func takeBytes() -> Buffer { Buffer(take(&tail.bytes)) }
    /// The events of handlers' own that the last one passed on since the last call, in order.
    public func takeUserEvents() -> [any Sendable] { take(&tail.userEvents) }
    /// The errors that the last handler passed on since the last call, in order.
    public func takeErrors() -> [any Error] { take(&tail.errors) }
    /// What ``/SwiftTransport/Channel/isWritable`` has become since the last call, each time the last handler passed it on.
    public func takeWritability() -> [Bool] { take(&tail.writability) }

    // MARK: The end

    /// Begins a graceful shutdown of the loop, as ``/SwiftTransport/EventLoopGroup/shutdown(within:)`` does: the handlers hear of it. When
    /// the channel has closed, or with ``advance(by:)`` the time is over, nothing but ``finish()`` can be done any more.
    ///
    /// - Parameter duration: the time allowed. Default 15 s.
    public func beginShutdown(within duration: Duration = .seconds(15)) throws {
        try world.use {
            world.beginShutdown(within: duration)
            try world.settle()
        }
    }

    /// Closes the channel, ends its loop, and frees everything. Without it, that happens when the test channel is let go of.
    ///
    /// - Returns: what nobody has taken, and what never got where it should.
    public func finish() throws -> TestChannelLeftovers {
        let (pending, unreceived) = try world.use {
            try world.settle()
            let counts = (channel.pendingBytes, world.unreceived)
            if channel.isActive {
                channel.close()
                try world.settle()
            }
            return counts
        }
        world.finish()
        return TestChannelLeftovers(
            bytes: takeBytes(), sentBytes: peer.takeBytes(), userEvents: takeUserEvents(), errors: takeErrors(),
            pendingBytes: pending, unreceivedBytes: unreceived)
    }
}

/// What was left of a ``TestChannel`` when it was finished.
public struct TestChannelLeftovers: Sendable {
    /// What the last handler passed on and nobody took.
    public let bytes: Buffer
    /// What the peer received and nobody took.
    public let sentBytes: Buffer
    /// Events that the last handler passed on and nobody took.
    public let userEvents: [any Sendable]
    /// Errors that the last handler passed on and nobody took.
    public let errors: [any Error]
    /// What was written and had not left when the end began: it was not flushed, or the peer did not read. As
    /// ``/SwiftTransport/Channel/pendingBytes`` counts.
    public let pendingBytes: Int
    /// Bytes of the peer that the channel had not read when the end began.
    public let unreceivedBytes: Int

    /// True when nothing is left.
    public var isEmpty: Bool {
        bytes.isEmpty && sentBytes.isEmpty && userEvents.isEmpty && errors.isEmpty && pendingBytes == 0
            && unreceivedBytes == 0
    }
}
