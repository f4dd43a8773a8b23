import Synchronization

/// Objects of the program that are alive: none may be left when a run is over, because whoever holds one is a leak.
enum Census {
    enum Kind: Int, CaseIterable { case session, handlerEnd, handler, promise, peer, work }

    private static let counts = Mutex([Int](repeating: 0, count: Kind.allCases.count))

    /// A property of what is to be counted.
    final class Member: Sendable {
        private let kind: Kind
        init(_ kind: Kind) {
            self.kind = kind
            counts.withLock { $0[kind.rawValue] += 1 }
        }
        deinit { counts.withLock { $0[kind.rawValue] -= 1 } }
    }

    /// Forgets those that are alive: they are known of.
    static func writeOff() { counts.withLock { written in for index in written.indices { written[index] = 0 } } }

    /// What is alive, such as "2 promises"; empty when nothing is.
    static var living: [String] {
        let counts = counts.withLock { $0 }
        return Kind.allCases.filter { counts[$0.rawValue] != 0 }.map { "\(counts[$0.rawValue]) of kind \($0)" }
    }
}
