// Connections that end where they are used.
extension ClientBootstrap {
    /// Connects, calls `body`, and closes the connection whichever way `body` ends: gracefully when it returns, so that what it
    /// wrote arrives, and with a reset when it throws, so that the peer does not take a part for the whole. Returns when the
    /// connection is closed.
    ///
    ///     let answer = try await ClientBootstrap(group: group).withConnection(to: address) { connection in
    ///         try await connection.send(question)
    ///         return try await connection.read(within: .seconds(5))
    ///     }
    ///
    /// `body` runs where the caller does. `withTaskExecutorPreference(connection.channel.eventLoop.taskExecutor)` in it saves the
    /// change of threads.
    ///
    /// - Throws: as ``connect(host:port:)``, and what `body` throws.
    nonisolated(nonsending) public func withConnection<Answer>(
        to address: SocketAddress, _ body: nonisolated(nonsending) (Connection) async throws -> Answer
    ) async throws -> Answer {
        try await Self.use(try await open(.addresses([address])), body)
    }

    /// The same with a host name or literal address.
    nonisolated(nonsending) public func withConnection<Answer>(
        host: String, port: UInt16, _ body: nonisolated(nonsending) (Connection) async throws -> Answer
    ) async throws -> Answer {
        try await Self.use(try await open(Self.target(host, port)), body)
    }

    nonisolated(nonsending) private static func use<Answer>(
        _ connection: Connection, _ body: nonisolated(nonsending) (Connection) async throws -> Answer
    ) async throws -> Answer {
        let answer: Answer
        do {
            answer = try await body(connection)
        } catch {
            await connection.close(.reset)
            throw error
        }
        await connection.close()
        return answer
    }
}
