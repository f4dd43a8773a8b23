import Foundation
import SwiftTransport

/// The costs in words and tables.
struct MicroReport {
    let run: MicroRun
    let costs: [MicroCost]

    /// A write all in, with its share of the turn: nanoseconds of user time, and heap allocations.
    static let writeTarget = (user: 60.0, allocations: 0.0)

    var text: String {
        [preamble, table.text, mustShow].joined(separator: "\n\n")
    }

    private var preamble: String {
        """
        \(SwiftTransport.Engine.report)
        \(run.rounds) interleaved rounds, each subject in its own process; a peer in another process reads what is sent.
        Nanoseconds of the measured thread for one operation: CPU and wall are medians over the rounds; user and system
        divide the CPU time of all rounds by the kernel's 250 Hz samples. What wall has more is waiting, or others
        on the processor. Allocations are counted in a run of their own.
        """
    }

    private var table: Table {
        var table = Table(header: ["operation", "subject", "user ns", "system ns", "CPU ns", "wall ns", "allocations"])
        // The library's operations in their order, each followed by what others need for the same.
        for own in costs where own.subject == .swiftTransport {
            for cost in costs where cost.name == own.name {
                table.add(
                    [cost.title, cost.subject.title]
                        + [cost.user, cost.system, cost.cpu, cost.wall].map { $0.formatted(decimals: 1) }
                        + [optional(cost.allocations, decimals: 3)])
            }
        }
        return table
    }

    private var mustShow: String {
        var table = Table(header: ["Must show", "target", "measured", "met"])
        guard let own = write(.swiftTransport) else { return "Must show: nothing, as the write was not measured." }
        table.add([
            "user time per write, 32 x 64 B a flush", "at most \(Self.writeTarget.user.formatted(decimals: 0)) ns",
            "\(own.user.formatted(decimals: 1)) ns", own.user <= Self.writeTarget.user ? "yes" : "NO",
        ])
        if let allocations = own.allocations {
            table.add([
                "allocations per write", "0", allocations.formatted(decimals: 4),
                // A handful in the whole run is the start-up of something, not the price of a write.
                allocations < 0.0005 ? "yes" : "NO",
            ])
        }
        if let nio = write(.nio), nio.user > 0 {
            table.add(["user time per write", "-", "\((own.user / nio.user).formatted(decimals: 3)) x SwiftNIO", "-"])
        }
        return table.text
    }

    private func write(_ subject: MicroRun.Subject) -> MicroCost? {
        costs.first { $0.subject == subject && $0.name == "write-32" }
    }
}
