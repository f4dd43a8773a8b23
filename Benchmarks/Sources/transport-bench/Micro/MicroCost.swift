import MicroKit

/// What one operation costs one subject. Times in nanoseconds.
struct MicroCost: Codable {
    var subject: MicroRun.Subject
    var name: String
    /// Of all rounds together: CPU time, divided by the kernel's samples.
    var user: Double
    var system: Double
    /// Medians over the rounds.
    var cpu: Double
    var wall: Double
    /// Heap allocations; nil when nobody counted.
    var allocations: Double?

    init(_ subject: MicroRun.Subject, timed: [MicroFigure], counted: MicroFigure) {
        func sum(_ value: (MicroFigure) -> UInt64) -> Double { timed.reduce(0) { $0 + Double(value($1)) } }
        func medianCost(_ value: (MicroFigure) -> UInt64) -> Double {
            median(timed.map { Double(value($0)) / Double(max(1, $0.operations)) }) ?? 0
        }
        self.subject = subject
        name = counted.name
        let samples = sum(\.userSampled) + sum(\.systemSampled)
        let mean = sum(\.cpu) / max(1, sum(\.operations))
        user = samples == 0 ? mean : mean * sum(\.userSampled) / samples
        system = mean - user
        cpu = medianCost(\.cpu)
        wall = medianCost(\.wall)
        allocations = counted.allocations.map { Double($0) / Double(max(1, counted.operations)) }
    }

    var title: String {
        switch name {
        case "write-32": "write + completion, 32 x 64 B a flush"
        case "write-1": "write + completion, 1 x 64 B a flush"
        case "send": "await send of 64 B, on the loop"
        case "hop": "pass bytes through a handler"
        case "timer": "arm + cancel a timer"
        case "execute-sender": "execute on another loop: sender"
        case "execute-receiver": "execute on another loop: receiver"
        case "ping-pong": "execute there and back, both asleep"
        default: name
        }
    }
}
