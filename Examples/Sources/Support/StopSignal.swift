@preconcurrency import Dispatch
import Glibc

/// SIGINT and SIGTERM as something to await. Make it before anything that must be closed properly.
public final class StopSignal: Sendable {
    private let signals: AsyncStream<Void>
    private let sources: [any DispatchSourceSignal]

    /// Takes the two signals over from now on.
    public init() {
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self)
        self.signals = signals
        sources = [SIGINT, SIGTERM].map { number in
            // The default action would end the process before the source is asked.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { continuation.yield() }
            source.resume()
            return source
        }
    }

    /// Returns when the first of the signals has come, also if that was before the call, or when the task is cancelled.
    public func received() async {
        for await _ in signals { return }
    }
}
