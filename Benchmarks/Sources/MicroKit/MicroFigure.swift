/// What so many operations cost one thread. Times in nanoseconds, for all operations together.
///
/// Travels from the measured process to the one that asked as a line of text.
public struct MicroFigure: Sendable {
    public var name: String
    public var operations: UInt64
    /// The thread's time on a processor, without interrupts: exact, from the scheduler.
    public var cpu: UInt64
    public var wall: UInt64
    /// In user and kernel mode, sampled at every tick of the kernel: good for a share after some seconds, not for a sum.
    public var userSampled: UInt64
    public var systemSampled: UInt64
    /// Heap allocations; nil when nobody counted.
    public var allocations: UInt64?

    public init(
        name: String, operations: UInt64, cpu: UInt64, wall: UInt64, userSampled: UInt64, systemSampled: UInt64,
        allocations: UInt64?
    ) {
        self.name = name
        self.operations = operations
        self.cpu = cpu
        self.wall = wall
        self.userSampled = userSampled
        self.systemSampled = systemSampled
        self.allocations = allocations
    }

    /// `write-32 1000 86000 141000 36000 50000 0`, with a dash for allocations that were not counted.
    public var line: String {
        let numbers = [operations, cpu, wall, userSampled, systemSampled].map(String.init)
        return ([name] + numbers + [allocations.map(String.init) ?? "-"]).joined(separator: " ")
    }

    /// Reads a line; nil when it is not one.
    public init?(line: some StringProtocol) {
        let words = line.split(separator: " ")
        let numbers = words.dropFirst().prefix(5).compactMap { UInt64($0) }
        guard words.count == 7, numbers.count == 5 else { return nil }
        self.init(
            name: String(words[0]), operations: numbers[0], cpu: numbers[1], wall: numbers[2], userSampled: numbers[3],
            systemSampled: numbers[4], allocations: UInt64(words[6]))
    }
}
