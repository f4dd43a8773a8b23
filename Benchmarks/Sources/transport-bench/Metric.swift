/// A figure that is compared between peers.
enum Metric: String, CaseIterable, Codable, Sendable {
    case cpu = "CPU"
    case user = "user"
    case messagesPerSecond = "messages/s"
    case megabytesPerSecond = "MB/s"
    case p50
    case p99
    case p999 = "p99.9"

    var higherIsBetter: Bool { self == .messagesPerSecond || self == .megabytesPerSecond }

    /// The value of one measurement, or nil for what only many together can tell.
    func value(_ measurement: Measurement) -> Double? {
        switch self {
        case .cpu: measurement.cpuNanosecondsPerMessage
        // The kernel samples user time 250 times a second: one round is too short for a share of a few per cent.
        case .user: nil
        case .messagesPerSecond: measurement.result.messagesPerSecond
        case .megabytesPerSecond: measurement.result.megabytesPerSecond
        case .p50: measurement.result.latency.p50
        case .p99: measurement.result.latency.p99
        case .p999: measurement.result.latency.p999
        }
    }
}
