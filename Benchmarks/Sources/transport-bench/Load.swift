import CLoad
import Foundation

/// What to send, how, and for how long.
struct Load: Codable, Sendable {
    var connections: UInt32
    var messageBytes: UInt32
    /// Messages in flight per connection, at most.
    var depth: UInt32
    /// Messages a second over all connections, or nil for a closed loop.
    var rate: Double?

    /// Runs the load against a server on this thread, and throws at the first wrong byte or lost connection.
    ///
    /// - Parameter window: called on this thread with true when the measured window begins and with false when it ends.
    func run(
        host: String, port: UInt16, warmUp: Duration, measured: Duration, window: (_ begins: Bool) -> Void = { _ in }
    ) throws -> LoadResult {
        try withoutActuallyEscaping(window) { window in
            let box = WindowBox(window)
            return try host.withCString { host in
                var config = cload_config(
                    host: host, port: port, connections: connections, message_bytes: messageBytes, depth: depth,
                    warm_up_ns: warmUp.nanoseconds, duration_ns: measured.nanoseconds, rate: rate ?? 0,
                    window: { context, begins in
                        guard let context else { return }
                        Unmanaged<WindowBox>.fromOpaque(context).takeUnretainedValue().call(begins)
                    },
                    window_context: Unmanaged.passUnretained(box).toOpaque())
                var result = cload_result()
                defer { cload_result_free(&result) }
                try withExtendedLifetime(box) {
                    try withErrorText { cload_run(&config, &result, $0, $1) }
                }
                return LoadResult(result, messageBytes: messageBytes)
            }
        }
    }
}

/// What a run of a load yielded.
struct LoadResult: Codable, Sendable {
    var messages: UInt64
    var seconds: Double
    var messagesPerSecond: Double
    /// Payload in one direction, in units of 1,000,000 bytes.
    var megabytesPerSecond: Double
    var latency: LatencySummary

    fileprivate init(_ result: cload_result, messageBytes: UInt32) {
        messages = result.messages
        seconds = Double(result.window_ns) / 1e9
        messagesPerSecond = Double(messages) / seconds
        megabytesPerSecond = messagesPerSecond * Double(messageBytes) / 1e6
        latency = LatencySummary(
            nanoseconds: UnsafeBufferPointer(start: result.latencies_ns, count: result.latency_count))
    }
}

private final class WindowBox {
    let call: (Bool) -> Void

    init(_ call: @escaping (Bool) -> Void) {
        self.call = call
    }
}

/// Turns the C convention, -1 and a message in a buffer, into a thrown error.
func withErrorText(_ body: (_ text: UnsafeMutablePointer<CChar>, _ capacity: Int) -> Int32) throws {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
        guard let base = text.baseAddress else { return }
        text.initialize(repeating: 0)
        if body(base, text.count) < 0 { throw BenchError(String(cString: base)) }
    }
}

extension Duration {
    /// As an argument of a command.
    var inSeconds: String { "\(self / .seconds(1))" }

    /// Whole nanoseconds; negative durations count as zero.
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(clamping: seconds) * 1_000_000_000 + UInt64(clamping: attoseconds / 1_000_000_000)
    }
}
