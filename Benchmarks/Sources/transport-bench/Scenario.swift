/// One kind of traffic all peers are measured under.
struct Scenario: Codable, Sendable {
    /// The name in the JSON report.
    var name: String
    var title: String
    var load: Load

    /// Many small messages: what a server spends on each.
    static let manySmall = Scenario(
        name: "A", title: "64 connections x 64 B, closed loop",
        load: Load(connections: 64, messageBytes: 64, depth: 1))

    /// One message at a time: how long a round trip takes when nobody else is there.
    static let single = Scenario(
        name: "B", title: "1 connection x 64 B, closed loop",
        load: Load(connections: 1, messageBytes: 64, depth: 1))

    /// Large messages: how many bytes get through.
    static let bulk = Scenario(
        name: "C", title: "64 connections x 16 KiB x depth 4, closed loop",
        load: Load(connections: 64, messageBytes: 16 * 1024, depth: 4))

    /// The same work for everyone, well below saturation: latency that is not the load's own doing.
    static let offered = Scenario(
        name: "D", title: "64 connections x 64 B, open loop at 20,000 messages/s",
        load: Load(connections: 64, messageBytes: 64, depth: 16, rate: 20_000))
}
