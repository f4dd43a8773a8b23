// Connecting a channel that was made before: see ``ClientBootstrap/makeChannel(on:)``.
extension Channel {
    /// Connects the channel, and returns when it is active. Once: a channel that could not be connected is closed.
    ///
    /// It ends at the bootstrap's time limit, which counts from this call, when its task is cancelled, when the channel is closed and when
    /// its loop begins to shut down, whatever it waits for: the handlers, the network, or room in a backlog. Any thread.
    ///
    /// - Throws: as ``ClientBootstrap/connect(to:)``, about the address; `.alreadyConnected`, and nothing else happens to the
    ///   channel, when it is connected or being connected, by whomever; `.closed` when it was closed, or what closed it.
    public func connect(to address: SocketAddress) async throws(TransportError) {
        let attempt = attempt(address)
        _ = try await attempt.outcome().get()
    }

    /// Connects the channel. Returns at once; on the loop handlers may be called before it does. Any thread.
    ///
    /// - Parameters:
    ///   - address: where to.
    ///   - promise: told `nil` when the channel is active, behind ``ChannelHandler/channelActive(_:)``, else why it never will be: as
    ///     ``connect(to:)`` throws. With `.none` nobody is told; the channel closes all the same.
    public func connect(to address: SocketAddress, promise: consuming WritePromise) {
        let completion = promise.take()
        attempt(address).start { outcome in
            switch outcome {
            case .success: completion.complete(nil)
            case .failure(let error): completion.complete(error)
            }
        }
    }

    private func attempt(_ address: SocketAddress) -> ConnectAttempt {
        ConnectAttempt(to: .addresses([address]), on: eventLoop, .made(self), within: configuration.connectTimeout)
    }
}

extension Channel {
    /// Somebody connects it, once. Why not, if it may not be. The loop's thread.
    func beConnected() -> TransportError? {
        guard own.lifecycle.phase == .opening, let opening = own.ending?.opening, opening.mayConnect else {
            guard own.lifecycle.isOver else { return TransportError(.alreadyConnected, call: .connect) }
            return own.ending?.cause ?? TransportError(.closed, call: .connect)
        }
        opening.mayConnect = false
        return nil
    }
}
