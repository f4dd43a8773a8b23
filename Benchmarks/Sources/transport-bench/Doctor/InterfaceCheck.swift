import Foundation

/// Whether one processor handles the packets for all.
enum InterfaceCheck {
    static var findings: [Finding] {
        // Only what has a device behind it: loopback and tunnels have no interrupts to spread.
        names(in: "/sys/class/net").filter { FileManager.default.fileExists(atPath: "/sys/class/net/\($0)/device") }
            .compactMap(finding)
    }

    private static func finding(_ interface: String) -> Finding? {
        let folder = "/sys/class/net/\(interface)/queues"
        let queues = names(in: folder).filter { $0.hasPrefix("rx-") }
        guard let first = queues.first else { return nil }
        let isSteered = queues.contains { queue in
            // A bit for each processor, in groups of 32 with commas between.
            (KernelParameter.text(ofFile: "\(folder)/\(queue)/rps_cpus") ?? "").contains { $0 != "0" && $0 != "," }
        }
        let processors = ProcessInfo.processInfo.processorCount
        let mask = String((1 << min(processors, 32)) - 1, radix: 16)
        return Finding(
            name: "receive queues of \(interface)", value: "\(queues.count), RPS \(isSteered ? "on" : "off")",
            advice: isSteered || queues.count >= processors
                ? nil : "all processors shall take packets: echo \(mask) > \(folder)/\(first)/rps_cpus")
    }

    private static func names(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }
}
