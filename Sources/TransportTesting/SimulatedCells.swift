internal import CSimulation

/// What simulated kernels have said: for each operation and each outcome that is on the list of the simulation, how often.
package struct SimulatedCells: Sendable {
    /// An operation and an outcome of it.
    package struct Cell: Sendable {
        package let operation: String, outcome: String
    }

    /// The list. It is the simulation's, and the same in all runs.
    package static let all = (0..<sim_cell_count()).map {
        Cell(operation: String(cString: sim_cell_operation($0)), outcome: String(cString: sim_cell_outcome($0)))
    }

    /// How often each was reached, in the order of ``all``.
    package private(set) var counts = [UInt64](repeating: 0, count: all.count)
    /// What was said and is not on the list, as text.
    package private(set) var unlisted: Set<String> = []

    /// None was reached.
    package init() {}

    init(_ world: OpaquePointer) {
        sim_cells_reached(world, &counts)
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { text in
            guard sim_unlisted(world, text.baseAddress!, UInt32(text.count)) > 0 else { return }
            unlisted = Set(String(cString: text.baseAddress!).split(separator: "\n").map(String.init))
        }
    }

    /// Adds what was reached in another run.
    package mutating func add(_ other: SimulatedCells) {
        for cell in counts.indices { counts[cell] += other.counts[cell] }
        unlisted.formUnion(other.unlisted)
    }

    package var reached: Int { counts.count { $0 > 0 } }
    package var unreached: [Cell] { zip(Self.all, counts).compactMap { $1 == 0 ? $0 : nil } }
}

/// What ``SimulatedNetwork/failCalls(from:goesOn:)`` has made fail.
package struct FailedCall: Sendable {
    /// As its manual page calls it.
    package let operation: String
    package let errno: Int32
}

extension SimulatedNetwork {
    /// What the kernels have said so far.
    package var cells: SimulatedCells { SimulatedCells(world) }

    /// From here on calls of the library that can fail are counted, from 1, and the one with that number fails; with `goesOn` every
    /// later one as well. `nil`: none does.
    package func failCalls(from number: Int?, goesOn: Bool = false) {
        assertInside()
        sim_fail_calls(world, UInt32(number ?? 0), goesOn)
    }

    /// From here on none fails any more.
    package func callsSucceed() {
        assertInside()
        sim_fail_no_more(world)
    }

    /// Blocks of memory that the core has and not freed.
    package var memoryBlocks: Int { Int(sim_memory_blocks(world)) }

    /// How many there were.
    package var fallibleCalls: Int { Int(sim_fallible_calls(world)) }

    /// The first that was made to fail.
    package var failedCall: FailedCall? {
        sim_failed_operation(world).map { FailedCall(operation: String(cString: $0), errno: sim_failed_with(world)) }
    }
}
