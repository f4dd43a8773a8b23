import Dispatch

/// What the client sends: so many pings, or the lines of standard input.
struct Lines: Sendable {
    private let pings: UInt?
    private var sent: UInt = 0

    init(pings: UInt?) {
        self.pings = pings
    }

    mutating func next() async -> String? {
        guard let pings else { return await Self.nextOfStandardInput() }
        guard sent < pings else { return nil }
        sent += 1
        return "ping \(sent)"
    }

    /// Reading standard input blocks, and an event loop must never wait: so it happens on another thread.
    private static func nextOfStandardInput() async -> String? {
        await withUnsafeContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: readLine()) }
        }
    }
}
