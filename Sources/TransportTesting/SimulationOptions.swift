internal import CSimulation
public import SwiftTransport

/// What is simulated.
public struct SimulationOptions: Sendable {
    /// What drives the loops. Default `nil`: the seed decides.
    public var engine: Engine?
    /// How many steps a run may take: turns of loops, and parts of tasks between two waits. Default: 10,000,000, which take about a
    /// minute.
    public var stepLimit = 10_000_000
    /// How long, in real time, a network in which nothing is left to do waits for what comes from outside, such as the end of a
    /// `Task.sleep` without a clock of the network. Default 5 s.
    public var patience: Duration = .seconds(5)

    /// The defaults.
    public init() {}

    func traits(_ seed: UInt64) -> sim_kernel_traits {
        let mixed = (seed &+ 0x9E37_79B9_7F4A_7C15) &* 0xD6E8_FEB8_6659_FD93
        let bits = mixed >> 40
        return sim_kernel_traits(
            incremental_buffers: bits & 3 != 0, sees_ends: bits & 12 != 0, send_zero_copy: bits & 48 != 0,
            uring: engine.map { $0 == .uring } ?? (bits & 64 != 0))
    }
}

/// How a run can fail by itself.
public enum SimulationError: Error, CustomStringConvertible {
    /// The body waits for something, and nothing will ever happen again that could bring it about.
    case stuck(seed: UInt64, trace: String)
    /// The body had not come to an end at ``SimulationOptions/stepLimit``: it waits for something while heartbeats or retries go on for
    /// ever, or the limit is too small for it.
    case tooLong(seed: UInt64, trace: String)
    /// A loop took 10,000 turns in which nothing happened, no event, no task, no system call that did something, with hardly a rest or
    /// another turn between them: it spins. `loop` says which one.
    case spinning(seed: UInt64, loop: String, trace: String)
    /// A loop does not end although everybody was told to, and there are no faults any more.
    case loopsLeft(seed: UInt64, trace: String)
    /// There was no thread for the run.
    case noThread(errno: Int32)

    /// What happened, the seed, and the last events.
    public var description: String {
        switch self {
        case .stuck(let seed, let trace):
            "with seed \(seed) the body of a simulated network waits for what will never happen. The last events:\n\(trace)"
        case .tooLong(let seed, let trace):
            "with seed \(seed) the body of a simulated network has not come to an end within its stepLimit. The last events:\n\(trace)"
        case .spinning(let seed, let loop, let trace):
            "with seed \(seed) \(loop) takes turn after turn in which nothing happens. The last events:\n\(trace)"
        case .loopsLeft(let seed, let trace):
            "with seed \(seed) a loop of a simulated network does not end. The last events before it should:\n\(trace)"
        case .noThread(let errno): "no thread for a simulated network: errno \(errno)"
        }
    }
}

/// What has happened in a ``SimulatedNetwork``.
public struct SimulationStatistics: Sendable, Hashable {
    /// Packets that were sent, and those of them that were lost.
    public let packets: Int, lostPackets: Int
    /// Bytes that programs handed to their kernels.
    public let bytes: Int
    /// Ends of connections that were made, two for each.
    public let connections: Int
    /// Ends that saw a reset, and ends that gave up after sending for too long.
    public let resets: Int, timeouts: Int
    /// System calls.
    public let calls: Int
    /// Faults that struck, without lost packets of ``SimulatedNetwork/loss(_:from:to:)``.
    public let faults: Int

    init(_ raw: sim_statistics) {
        packets = Int(raw.packets)
        lostPackets = Int(raw.packets_lost)
        bytes = Int(raw.bytes)
        connections = Int(raw.connections)
        resets = Int(raw.resets)
        timeouts = Int(raw.timeouts)
        calls = Int(raw.calls)
        faults = Int(raw.faults)
    }
}
