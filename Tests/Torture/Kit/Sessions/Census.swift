import Synchronization

/// Objects of the program that are alive: none may be left when a run is over, because whoever holds one is a leak.
enum Census {
    enum Kind: Int, CaseIterable { case session, handlerEnd, handler, promise, peer, work, channel, context, loop }

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

    /// Only asked whether it is still there.
    private final class Watched: @unchecked Sendable {
        weak var object: AnyObject?
        let kind: Kind
        init(_ object: AnyObject, _ kind: Kind) {
            self.object = object
            self.kind = kind
        }
    }
    private static let watched = Mutex([Watched]())

    /// Counts what belongs to the library, until it is gone.
    static func watch(_ object: AnyObject, _ kind: Kind) {
        let one = Watched(object, kind)
        watched.withLock { $0.append(one) }
    }

    /// Forgets those that are alive: they are known of.
    static func writeOff() {
        counts.withLock { written in for index in written.indices { written[index] = 0 } }
        watched.withLock { $0 = [] }
    }

    /// What is alive, such as "2 promises"; empty when nothing is.
    static var living: [String] {
        var counts = counts.withLock { $0 }
        watched.withLock { watched in
            watched.removeAll { $0.object == nil }
            for one in watched { counts[one.kind.rawValue] += 1 }
        }
        return Kind.allCases.filter { counts[$0.rawValue] != 0 }.map { "\(counts[$0.rawValue]) of kind \($0)" }
    }
}
