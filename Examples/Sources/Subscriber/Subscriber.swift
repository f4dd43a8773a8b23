public import SwiftTransport

/// Stays subscribed to a feed that says something every few seconds: a connection that is lost, refused, or silent for too long is
/// given up, and after a pause there is another one.
///
/// It takes its clock from whoever makes it, so that a test can let hours pass.
public struct Subscriber: Sendable {
    /// How it connects.
    public let bootstrap: ClientBootstrap
    /// Where the feed is.
    public let host: String, port: UInt16
    /// In whose time it pauses.
    public let clock: any Clock<Duration>
    /// How long the feed may be silent.
    public var silence: Duration = .seconds(10)
    /// Between two connections.
    public var pause: Duration = .seconds(1)

    public init(_ bootstrap: ClientBootstrap, host: String, port: UInt16, clock: any Clock<Duration>) {
        self.bootstrap = bootstrap
        self.host = host
        self.port = port
        self.clock = clock
    }

    /// Calls `body` with what the feed says, until the task is cancelled.
    public func run(_ body: @escaping @Sendable (Buffer) -> Void) async throws {
        while true {
            do {
                try await bootstrap.withConnection(host: host, port: port) { connection in
                    while let bytes = try await connection.read(within: silence) { body(bytes) }
                }
            } catch is TransportError {
                // Whatever it was, the next connection may have more luck.
            }
            try await clock.sleep(for: pause)
        }
    }
}
