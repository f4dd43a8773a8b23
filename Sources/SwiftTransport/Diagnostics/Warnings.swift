#if DEBUG
    internal import Glibc
    internal import Synchronization

    /// What debug builds say on standard error of a program that works, but hardly as it was meant: once for each kind and place.
    enum Warnings {
        enum Kind: Hashable, Sendable { case blockedLoop, uncalledMethod, neverFlushed }
        private struct Key: Hashable {
            let kind: Kind
            let place: String
        }
        private static let given = Mutex<[Key: String]>([:])

        static func give(_ kind: Kind, at place: String, _ text: @autoclosure () -> String) {
            let line = given.withLock { given -> String? in
                let key = Key(kind: kind, place: place)
                guard given[key] == nil else { return nil }
                let line = "SwiftTransport warning: \(text())\n"
                given[key] = line
                return line
            }
            if let line { _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) } }
        }

        /// For tests: what was said of this kind and place, which may be said again.
        static func take(_ kind: Kind, at place: String) -> String? {
            given.withLock { $0.removeValue(forKey: Key(kind: kind, place: place)) }
        }
    }

    extension Channel {
        /// The channel by the types of its handlers: what tells channels apart in a program. The loop's thread only.
        var nameForWarnings: String {
            var names: [String] = []
            var candidate = own.first
            while let context = candidate.context {
                names.append(
                    context.handler is InboundBridge ? "its task" : String(describing: type(of: context.handler)))
                candidate = context.own.next
            }
            return names.isEmpty ? "a channel without handlers" : "a channel of \(names.joined(separator: ", "))"
        }
    }
#endif
