internal import CTransport
internal import Glibc

// From a bootstrap to listening sockets.
extension ServerBootstrap {
    /// Listens on an IP address or host name.
    ///
    /// - Parameters:
    ///   - host: a name, or a literal address.
    ///   - port: 0 lets the kernel choose: see ``ServerChannel/localAddress``.
    /// - Throws: `.addressInUse`, `.invalidAddress`, `.notPermitted`, `.descriptorLimit`, `.unsupportedOption`, `.loopShutDown`,
    ///   `.conflictingConfiguration`, `.system`, each about the address, or about the name if that has none.
    public func bind(host: String, port: UInt16) async throws(TransportError) -> ServerChannel {
        let children = try children
        let addresses = try await Resolver.resolve(host: host, port: port)
        var failure = TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME)
        for address in addresses {
            do throws(TransportError) {
                return try await bind(to: address, children)
            } catch {
                failure = error
            }
        }
        throw failure
    }

    /// Listens on a Unix domain socket. A file that a server left behind there is replaced, and removed when this one closes:
    /// see ``removeSocketFile(_:)``.
    public func bind(unixDomainSocketPath path: String) async throws(TransportError) -> ServerChannel {
        try await bind(to: .unix(path, for: .bind))
    }

    /// Listens on `address`.
    public func bind(to address: SocketAddress) async throws(TransportError) -> ServerChannel {
        try await bind(to: address, children)
    }

    /// What every accepted channel is made with.
    private struct Children {
        let configuration: ChannelConfiguration
        let handlers: HandlerFactory
        let errorHandler: (@Sendable (TransportError) -> Void)?
        /// Where the connections go that ``ServerChannel/run(shutdownWithin:onError:_:)`` serves; `nil`: it has none.
        let accepted: AcceptedConnections?
    }

    private var children: Children {
        get throws(TransportError) {
            var options = options
            let given = try handlers.part
            var handlers = given ?? .none
            var accepted: AcceptedConnections?
            if let service = try service.part ?? (given == nil ? .run : nil) {
                // The task may still be answering when the peer has finished sending; its end closes the channel.
                options.insert(.allowHalfClosure(true), at: 0)
                let started: @Sendable (Connection) -> InboundBridge.Service
                switch service {
                case .task(let begin): started = { .task(begin($0)) }
                case .run:
                    let connections = AcceptedConnections(loops: group.loops.count)
                    accepted = connections
                    started = { Self.hand($0, to: connections) }
                }
                handlers = handlers.adding { InboundBridge(started: started) }
            }
            return Children(
                configuration: ChannelConfiguration(options), handlers: handlers,
                errorHandler: try errorHandler.part, accepted: accepted)
        }
    }

    private static func hand(_ connection: Connection, to accepted: AcceptedConnections) -> InboundBridge.Service {
        if accepted.add(connection) { return .expected }
        // It was on its way from loop to loop when the server closed: as one that was not accepted.
        connection.channel.close(.reset)
        return .none
    }

    private func bind(
        to address: SocketAddress, _ children: Children
    ) async throws(TransportError) -> ServerChannel {
        let configuration = children.configuration
        let loops = address.isUnix ? [group.next()] : group.loops
        let sockets = try listen(on: address, count: loops.count, configuration)
        let factory = ChildFactory(
            address: sockets.address, configuration: configuration, handlers: children.handlers,
            errorHandler: children.errorHandler,
            distribution: address.isUnix && group.loops.count > 1 ? group : nil)
        let server = ServerChannel(
            localAddress: sockets.address, group: group, configuration: configuration, accepted: children.accepted)
        let file = removesSocketFile ? SocketFile(sockets.address) : nil
        var failure: TransportError?
        for (loop, descriptor) in zip(loops, sockets.descriptors) {
            guard failure == nil else {
                closeSocket(descriptor)
                continue
            }
            let listener = Listener(eventLoop: loop, factory: factory, file: file) { server.listenerClosed() }
            // Before it starts: its loop may end, and the listener with it, before this task goes on.
            server.add(listener)
            let accepts = children.accepted == nil
            switch await loop.ask({ Self.start(listener, descriptor, accepts) }) {
            case .success(nil): continue
            case .success(let error): failure = error
            case .failure(let error):
                closeSocket(descriptor)
                failure = error.of(.bind)
            }
            server.listenerClosed()
        }
        if let failure {
            file?.remove()
            server.close()
            throw failure.about(sockets.address.description)
        }
        return server
    }

    private static func start(_ listener: Listener, _ descriptor: Int32, _ accepts: Bool) -> TransportError? {
        do throws(TransportError) {
            try listener.start(descriptor)
            if accepts { listener.accept() }
            return nil
        } catch {
            return error
        }
    }

    /// The listening sockets, one per loop: the kernel spreads connections over them (SO_REUSEPORT).
    private func listen(
        on address: SocketAddress, count: Int, _ configuration: ChannelConfiguration
    ) throws(TransportError) -> (descriptors: [Int32], address: SocketAddress) {
        LoopDriver.visit(group.loops[0])
        // SO_REUSEPORT would let a second server of the same user share the port in silence. So the port must be free
        // for a socket without it first. That one does not listen, or clients would be let in and thrown out with it.
        if count > 1, address.port != 0 {
            closeSocket(try ListeningSocket.open(address, sharing: false, backlog: nil, configuration))
        }
        var descriptors: [Int32] = []
        var bound = address
        do throws(TransportError) {
            for _ in 0..<count {
                descriptors.append(
                    try ListeningSocket.open(
                        bound, sharing: count > 1, backlog: backlog, replacing: removesSocketFile, configuration))
                if bound.port == 0, !bound.isUnix { bound = try ListeningSocket.address(of: descriptors[0]) }
            }
        } catch {
            for descriptor in descriptors { closeSocket(descriptor) }
            throw error
        }
        return (descriptors, bound)
    }
}
