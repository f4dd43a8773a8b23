import SwiftTransport
import Testing

extension Scenarios {
    /// A service whose answers take long, and which is told to stop in the middle of one.
    struct LongResponseTests {
        private static let parts = 20

        @Test(arguments: Place.all) func aResponseUnderWayIsFinished(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let released = Watched(0)
                let server = try await ServerBootstrap(group: group)
                    .serve { try await Self.respond($0, released) }
                    .bind(to: place.freshAddress())
                let (busy, idle) = try await blocking {
                    (try RawSocket.connect(to: server.localAddress), try RawSocket.connect(to: server.localAddress))
                }
                try await blocking { try busy.write("x") }
                released.update { $0 = Self.parts / 2 }
                let half = Self.response(upTo: Self.parts / 2)
                #expect(try await blocking { try busy.read(half.count) } == half)

                async let report = group.shutdown(within: .seconds(10))
                // Whoever has nothing under way is let go at once, which also tells that the shutdown has begun.
                let end = try await blocking { idle.readToEnd() }
                #expect(end.bytes.isEmpty && end.error == 0)
                released.update { $0 = Self.parts }
                let rest = try await blocking { busy.readToEnd() }
                busy.close()
                #expect(half + rest.bytes == Self.response(upTo: Self.parts))
                #expect(rest.error == 0, "a clean end")
                #expect(await report.isComplete)
            }
        }

        private static func respond(_ connection: Connection, _ released: Watched<Int>) async throws {
            var requests = connection.inbound.makeAsyncIterator()
            guard try await requests.next() != nil else { return }
            for part in 0..<parts {
                try await released.wait(for: "part \(part)") { $0 > part }
                try await connection.send(Buffer("part \(part)\n"))
            }
        }

        private static func response(upTo parts: Int) -> [UInt8] {
            [UInt8]((0..<parts).map { "part \($0)\n" }.joined().utf8)
        }
    }
}
