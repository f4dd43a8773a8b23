import Glibc

@testable import SwiftTransport

extension EventLoopGroup {
    /// A connect as ``ClientBootstrap`` makes it, on the first loop, with a resolver of the test's choice.
    func attempt(
        _ target: ConnectAttempt.Target, within timeout: Duration = .seconds(600), resolver: ResolverPool = .shared,
        _ makeHandlers: @escaping @Sendable (Channel) throws -> [any ChannelHandler] = { _ in [] }
    ) async -> Result<Channel, TransportError> {
        await ConnectAttempt(
            to: target, on: loops[0], .new(ChannelConfiguration(), .atOnce(makeHandlers)), within: timeout,
            resolver: resolver
        ).outcome()
    }
}

/// A name service that answers when the test says so.
final class SlowNames: Sendable {
    private let gate = Watched(false)
    /// What was asked for, in order.
    let asked = Watched<[String]>([])
    private let answer: ResolverPool.Answer

    init(_ answer: ResolverPool.Answer = .success([])) { self.answer = answer }

    func open() { gate.update { $0 = true } }

    func pool(threads: Int, idle: Duration = .seconds(600)) -> ResolverPool {
        ResolverPool(threads: threads, idle: idle) { host, _ in
            self.asked.update { $0.append(host) }
            while !self.gate.value { _ = usleep(200) }
            return self.answer
        }
    }
}
