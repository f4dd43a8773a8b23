import Foundation

/// What the kernel's network grants: connections waiting, ports, buffers.
enum NetworkCheck {
    static func findings(connections: Int) -> [Finding] {
        [
            backlog, ports(connections), memory(connections), buffers("net.ipv4.tcp_rmem", option: ".receiveBuffer"),
            buffers("net.ipv4.tcp_wmem", option: ".sendBuffer"), connectionTracking(connections),
        ].compactMap { $0 }
    }

    /// The library's own default backlog, which the kernel caps at somaxconn.
    private static let wantedBacklog = 4096

    private static var backlog: Finding? {
        let name = "net.core.somaxconn"
        guard let value = KernelParameter.numbers(name).first else { return nil }
        return Finding(
            name: name, value: "\(value)",
            note: "what exceeds it in a burst of connects is dropped, and retried a second later",
            advice: value >= wantedBacklog ? nil : "sysctl -w \(name)=\(wantedBacklog)")
    }

    private static func ports(_ connections: Int) -> Finding? {
        let name = "net.ipv4.ip_local_port_range"
        let range = KernelParameter.numbers(name)
        guard range.count == 2 else { return nil }
        let count = range[1] - range[0] + 1
        // Never a change: all connections of a server share its port.
        let note = """
            a server needs none of them; a client has \(count) to each address and port of a server, \
            and 64512 with sysctl -w \(name)="1024 65535"
            """
        return Finding(name: name, value: "\(range[0])-\(range[1])", note: count < connections ? note : nil)
    }

    private static func memory(_ connections: Int) -> Finding? {
        let name = "net.ipv4.tcp_mem"
        let pages = KernelParameter.numbers(name)
        guard pages.count == 3 else { return nil }
        let bytes = pages[2] * Int(sysconf(Int32(_SC_PAGESIZE)))
        // Connections that hold a message now and then, in one direction: a page each.
        let needed = [connections / 2, connections * 3 / 4, connections].map(String.init).joined(separator: " ")
        return Finding(
            name: name, value: pages.map(String.init).joined(separator: " "),
            note: """
                socket buffers, in pages: \(bytes >> 20) MiB in all, \(bytes / connections) B for each connection \
                (idle ones hold none)
                """,
            advice: pages[2] >= connections ? nil : "a page for each: sysctl -w \(name)=\"\(needed)\"")
    }

    /// What an application sets for masses of connections.
    private static let kibibytesPerBuffer = 32

    private static func buffers(_ name: String, option: String) -> Finding? {
        let values = KernelParameter.numbers(name)
        guard values.count == 3 else { return nil }
        return Finding(
            name: name, value: "\(values[1] >> 10) KiB, grows to \(values[2] >> 10) KiB",
            note:
                "with masses of connections \(option)(.kibibytes(\(kibibytesPerBuffer))) bounds what a full one holds"
        )
    }

    /// Where a firewall follows connections, its table is a limit that nobody thinks of.
    private static func connectionTracking(_ connections: Int) -> Finding? {
        let name = "net.netfilter.nf_conntrack_max"
        guard let value = KernelParameter.numbers(name).first else { return nil }
        return Finding(
            name: name, value: "\(value)", note: "if a firewall follows the server's connections",
            advice: value >= connections ? nil : "sysctl -w \(name)=\(connections * 5 / 4)")
    }
}
