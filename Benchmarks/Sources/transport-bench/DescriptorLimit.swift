import CLoad

enum DescriptorLimit {
    /// Raises the limit as far as allowed and throws if it is still too low for that many connections.
    static func require(_ connections: Int) throws {
        let limit = cload_raise_descriptor_limit()
        let needed = UInt64(connections) + 64
        guard limit >= needed else {
            throw BenchError("\(connections) connections need \(needed) descriptors, the limit is \(limit): ulimit -Hn")
        }
    }
}
