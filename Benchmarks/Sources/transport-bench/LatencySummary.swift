import Histogram

/// Percentiles of a run's latencies, in nanoseconds.
struct LatencySummary: Codable, Sendable {
    var p50: Double
    var p90: Double
    var p99: Double
    var p999: Double
    var p9999: Double
    var max: Double

    /// Summarises with an HdrHistogram of three significant digits.
    init(nanoseconds: UnsafeBufferPointer<UInt64>) {
        var histogram = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        histogram.autoResize = true
        for latency in nanoseconds {
            histogram.record(latency)
        }
        func percentile(_ value: Double) -> Double { Double(histogram.valueAtPercentile(value)) }
        p50 = percentile(50)
        p90 = percentile(90)
        p99 = percentile(99)
        p999 = percentile(99.9)
        p9999 = percentile(99.99)
        max = Double(histogram.max)
    }
}
