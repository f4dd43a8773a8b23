internal import CTransport

/// Makes channels of accepted descriptors.
final class ChildFactory: Sendable {
    private let address: SocketAddress
    private let configuration: ChannelConfiguration
    private let handlers: HandlerFactory
    private let errorHandler: (@Sendable (TransportError) -> Void)?
    /// Where the children of the one listener of a Unix domain socket go; `nil`: they stay where they were accepted.
    private let distribution: EventLoopGroup?

    /// - Parameter address: where the connections come in, for what is reported.
    init(
        address: SocketAddress, configuration: ChannelConfiguration,
        handlers: HandlerFactory,
        errorHandler: (@Sendable (TransportError) -> Void)?, distribution: EventLoopGroup?
    ) {
        self.address = address
        self.configuration = configuration
        self.handlers = handlers
        self.errorHandler = errorHandler
        self.distribution = distribution
    }

    func adopt(_ descriptor: Int32, acceptedOn loop: EventLoop) {
        guard let target = distribution?.next(), target !== loop else {
            open(descriptor, on: loop)
            return
        }
        target.post(
            ClosureWork {
                self.open(descriptor, on: $0)
            } otherwise: {
                closeSocket(descriptor)
                self.report(TransportError(.loopShutDown, call: .accept))
            })
    }

    func report(_ error: TransportError) { errorHandler?(error.about(address.description)) }

    private func open(_ descriptor: Int32, on loop: EventLoop) {
        let channel = Channel(eventLoop: loop, configuration: configuration)
        do throws(TransportError) {
            try channel.open(descriptor, listener: false)
        } catch {
            report(error.of(.accept))
            return
        }
        channel.prepare(handlers) { how in
            switch how {
            case .ready: channel.becomeActive()
            // Whoever closed it knows.
            case .closed: break
            case .failed(let error): self.report(TransportError(wrapping: error, call: .accept))
            }
        }
    }
}
