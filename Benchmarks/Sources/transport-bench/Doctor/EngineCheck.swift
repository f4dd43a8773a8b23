import Foundation
import SwiftTransport

/// Which engine a group gets here, and why.
enum EngineCheck {
    static func findings() async -> [Finding] {
        [wish, await chosen(), sysctl, lockedMemory].compactMap { $0 }
    }

    private static var wish: Finding {
        let name = "SWIFT_TRANSPORT_ENGINE"
        guard let value = ProcessInfo.processInfo.environment[name] else {
            return Finding(name: name, value: "not set")
        }
        let known = SwiftTransport.Engine.allCases.map(\.rawValue)
        return Finding(
            name: name, value: value, note: "decides for groups whose options say .automatic",
            advice: known.contains(value) ? nil : "it is ignored: known are \(known.joined(separator: " and "))")
    }

    private static func chosen() async -> Finding {
        let name = "engine of a new group"
        do throws(TransportError) {
            let group = try EventLoopGroup(loops: 1)
            let engine = group.loops[0].engine
            await group.shutdown(within: .zero)
            let failure = engine == .epoll ? SwiftTransport.Engine.uring.failure : nil
            return Finding(name: name, value: engine.rawValue, advice: failure.map { "for io_uring: \($0)" })
        } catch {
            return Finding(name: name, value: "none", advice: "\(error)")
        }
    }

    private static var sysctl: Finding? {
        let name = "kernel.io_uring_disabled"
        guard let value = KernelParameter.numbers(name).first else { return nil }
        let meaning = value == 0 ? "allowed" : value == 1 ? "for CAP_SYS_ADMIN and kernel.io_uring_group" : "forbidden"
        return Finding(
            name: name, value: "\(value), \(meaning)", advice: value == 0 ? nil : "sysctl -w kernel.io_uring_disabled=0"
        )
    }

    /// Rings and their buffers count against the limit of a process without CAP_IPC_LOCK. Measured on 6.18: 360 to 380.
    private static let kibibytesPerLoop = 400

    private static var lockedMemory: Finding {
        let limit = ResourceLimit.lockedMemory
        let isBound = geteuid() != 0
        let loops = EventLoopGroup.availableCores
        let needed = loops * kibibytesPerLoop
        return Finding(
            name: "locked memory (memlock)", value: limit.described { "\($0 / 1024) KiB" },
            note: isBound ? nil : "does not bind root",
            advice: !isBound || limit.soft / 1024 >= needed
                ? nil : "\(loops) loops on io_uring need \(needed) KiB: ulimit -l, or LimitMEMLOCK= in systemd")
    }
}
