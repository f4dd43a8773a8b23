internal import CTransport
internal import Glibc

// From a channel without a connection to an active one: handlers are made, an outgoing one is connected. The loop's thread only.
extension Channel {
    func ensureOpening() -> ChannelOpening {
        let ending = ensureEnding()
        if let opening = ending.opening { return opening }
        let fresh = ChannelOpening()
        ending.opening = fresh
        return fresh
    }

    // MARK: Handlers

    /// Has the handlers made and added, and `done` told once. When they cannot be made the channel is closed with a reset.
    func prepare(_ handlers: HandlerFactory, _ done: @escaping (ChannelOpening.Preparation) -> Void) {
        if let preparation = makeHandlers(handlers) { done(preparation) } else { ensureOpening().whenPrepared(done) }
    }

    /// An outgoing channel, which somebody may connect from here on.
    func begin(_ handlers: HandlerFactory) throws(TransportError) {
        do throws(TransportError) {
            try eventLoop.register(self)
        } catch {
            giveUpConnecting(error)
            throw error
        }
        let opening = ensureOpening()
        opening.mayConnect = true
        if let preparation = makeHandlers(handlers) { opening.tell(preparation) }
    }

    /// `nil`: that takes a while, and is told later.
    private func makeHandlers(_ handlers: HandlerFactory) -> ChannelOpening.Preparation? {
        eventLoop.assertOnLoop()
        switch handlers {
        case .atOnce(let make):
            do {
                return added(try make(self))
            } catch {
                failedToPrepare(error)
                return .failed(error)
            }
        case .waiting(let make):
            ensureOpening().preparing = Task(executorPreference: eventLoop.taskExecutor) {
                do { self.prepared(try await make(self)) } catch { self.notPrepared(error) }
            }
            return nil
        }
    }

    private func prepared(_ handlers: [any ChannelHandler]) {
        guard let opening = openingOfTask else { return }
        opening.tell(own.lifecycle.isOver ? .closed : added(handlers))
    }

    private func notPrepared(_ error: any Error) {
        guard let opening = openingOfTask else { return }
        if own.lifecycle.isOver { return opening.tell(.closed) }
        opening.tell(.failed(error))
        failedToPrepare(error)
    }

    /// `nil` when the channel has closed meanwhile, which it has for certain when its loop has ended.
    private var openingOfTask: ChannelOpening? { isOnLoop ? own.ending?.opening : nil }

    private func added(_ handlers: [any ChannelHandler]) -> ChannelOpening.Preparation {
        pipeline.append(handlers)
        return own.lifecycle.isOver ? .closed : .ready
    }

    private func failedToPrepare(_ error: any Error) {
        ensureEnding().cause = TransportError(wrapping: error, call: slot == nil ? .connect : .accept)
        closeNow(.reset)
    }

    // MARK: Connecting

    /// Connects, and has `done` told once, behind `channelActive`. A channel that could not be connected is closed.
    func connectNow(to address: SocketAddress, _ done: @escaping (TransportError?) -> Void) {
        eventLoop.assertOnLoop()
        ensureOpening().connected = done
        do throws(TransportError) { try beginConnect(to: address) } catch { connectFailed(error) }
    }

    private func beginConnect(to address: SocketAddress) throws(TransportError) {
        var failure = ct_failure()
        let descriptor = ct_socket_open(address.family, &failure)
        guard descriptor >= 0 else { throw TransportError(failure) }
        do throws(TransportError) {
            try configuration.apply(to: descriptor, isUnix: address.isUnix)
        } catch {
            closeSocket(descriptor)
            throw error
        }
        if address.isUnix {
            let unix = UnixConnect(descriptor, to: address, on: eventLoop) { [unowned self] in self.connected($0) }
            ensureOpening().unix = unix
            unix.begin()
        } else {
            try connect(descriptor, to: address)
        }
    }

    /// TCP, by the engine.
    private func connect(_ descriptor: Int32, to address: SocketAddress) throws(TransportError) {
        try takeOver(descriptor)
        ensureOpening().address = address
        try connectSlot(to: address)
    }

    private func connectSlot(to address: SocketAddress) throws(TransportError) {
        guard let slot else { return }
        let result = address.withSockaddr { ct_connect(eventLoop.core, slot, $0, $1) }
        if result < 0 { throw TransportError(call: .connect, errno: -result) }
    }

    private func takeOver(_ descriptor: Int32) throws(TransportError) {
        do throws(TransportError) { try open(descriptor, listener: false) } catch { throw error.of(.connect) }
        // Its slot holds it from here on.
        eventLoop.own.unconnected.remove(self)
    }

    /// The engine has an answer.
    func connectEnded(_ event: ct_event) {
        switch event.result {
        case 0: connectSucceeded()
        // The kernel had no room for the request. It may have now.
        case -EAGAIN where event.flags & UInt16(CT_EVENT_MORE) != 0 && own.lifecycle.phase == .opening: connectAgain()
        default: connectFailed(TransportError(call: .connect, errno: -event.result))
        }
    }

    private func connectAgain() {
        guard let address = own.ending?.opening?.address else { return }
        do throws(TransportError) { try connectSlot(to: address) } catch { connectFailed(error) }
    }

    private func connected(_ outcome: UnixConnect.Outcome) {
        own.ending?.opening?.unix = nil
        do throws(TransportError) {
            try takeOver(outcome.get())
            connectSucceeded()
        } catch {
            connectFailed(error)
        }
    }

    private func connectSucceeded() {
        guard let done = own.ending?.opening?.connected.take() else { return }
        if own.lifecycle.isOver { return done(TransportError(.closed, call: .connect)) }
        becomeActive()
        done(nil)
    }

    private func connectFailed(_ error: TransportError) {
        guard let done = own.ending?.opening?.connected.take() else { return }
        let wasOver = own.lifecycle.isOver
        giveUpConnecting(error)
        done(wasOver ? TransportError(.closed, call: .connect) : error)
    }

    /// Closes a channel that will not be connected; what is asked of it later is refused with the reason.
    func giveUpConnecting(_ error: TransportError) {
        let ending = ensureEnding()
        if ending.cause == nil, !own.lifecycle.isOver { ending.cause = error }
        closeNow(.immediate)
    }

    /// The channel is active.
    func endOpening() {
        guard let ending = own.ending else { return }
        ending.opening = nil
        if ending.isEmpty { own.ending = nil }
    }

    /// The channel is closed.
    func endOpening(_ opening: ChannelOpening) {
        opening.cancel()
        opening.tell(.closed)
        opening.connected.take()?(TransportError(.closed, call: .connect))
    }
}

/// Outgoing channels that have no descriptor yet, so that shutting down can close them. The loop's thread only.
struct UnconnectedChannels {
    private var channels: [ObjectIdentifier: (number: UInt64, channel: Channel)] = [:]
    private var count: UInt64 = 0

    /// In the order in which they came: that of a dictionary depends on where the channels lie in memory.
    var all: [Channel] { channels.values.sorted { $0.number < $1.number }.map(\.channel) }
    var isEmpty: Bool { channels.isEmpty }

    mutating func insert(_ channel: Channel) {
        channels[ObjectIdentifier(channel)] = (count, channel)
        count += 1
    }
    mutating func remove(_ channel: Channel) { channels[ObjectIdentifier(channel)] = nil }
}

extension EventLoop {
    /// An outgoing channel, which has to be closed from here on.
    func register(_ channel: Channel) throws(TransportError) {
        assertOnLoop()
        guard own.phase == .running else { throw TransportError(.loopShutDown) }
        own.unconnected.insert(channel)
    }
}
