/// A descriptor for each connection, from the process, from the user's limits, and from the kernel.
enum DescriptorCheck {
    /// What a server holds besides its connections.
    private static let spare = 64

    static func findings(connections: Int) -> [Finding] {
        let needed = connections + spare
        let limit = ResourceLimit.descriptors
        var advice: String?
        if limit.hard < needed {
            advice = """
                /etc/security/limits.conf: `* soft nofile \(needed)` and `* hard nofile \(needed)`; \
                in systemd LimitNOFILE=\(needed); in Docker --ulimit nofile=\(needed)
                """
        } else if limit.soft < needed {
            advice = "ulimit -n \(needed) before the start; in systemd LimitNOFILE=\(needed)"
        }
        return [
            Finding(name: "descriptors (nofile)", value: limit.described(), advice: advice),
            parameter("fs.nr_open", atLeast: needed, note: "the most that a process may be allowed"),
            parameter("fs.file-max", atLeast: needed, note: "of all processes together"),
        ].compactMap { $0 }
    }

    private static func parameter(_ name: String, atLeast needed: Int, note: String) -> Finding? {
        guard let value = KernelParameter.numbers(name).first else { return nil }
        return Finding(
            name: name, value: "\(value)", note: note, advice: value >= needed ? nil : "sysctl -w \(name)=\(needed)"
        )
    }
}
