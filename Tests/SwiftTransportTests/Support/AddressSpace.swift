import CTransport
import Foundation
import Testing

@testable import SwiftTransport

/// Takes away what this process may still map: large allocations fail, small ones go on. For exit tests only.
///
/// To make something fail that grows by doubling, leave much, let it grow until it fails, and leave little: what it asks for
/// next is about as large as all it has got before, and does not fit either.
enum AddressSpace {
    /// False under the address and thread sanitizers, whose own memory it would take away.
    static var canBeLimited: Bool {
        dlsym(nil, "__asan_init") == nil && dlsym(nil, "__tsan_init") == nil
    }

    static func leave(_ bytes: Int) throws {
        let pages = try #require(Int(String(contentsOfFile: "/proc/self/statm", encoding: .utf8).prefix { $0 != " " }))
        set(rlim_t(pages * sysconf(Int32(_SC_PAGESIZE)) + bytes))
    }

    /// As much as ever allowed.
    static func restore() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        set(limit.rlim_max)
    }

    private static func set(_ bytes: rlim_t) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        limit.rlim_cur = bytes
        let result = setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        precondition(result == 0)
    }
}

/// Timers of nobody, as many as the wheel of a loop has memory for. The loop's thread only.
final class CrowdedWheel: @unchecked Sendable {
    private static let most = 1 << 24
    private let core: OpaquePointer
    private let timers = UnsafeMutableBufferPointer<ct_timer>.allocate(capacity: most)
    private var count = 0

    init(_ loop: EventLoop) { core = loop.core }
    deinit { timers.deallocate() }

    func fill() {
        var nobody = 0
        while count < Self.most {
            let timer = ct_timer_arm(core, .max - 1, &nobody)
            if timer == 0 { return }
            timers[count] = timer
            count += 1
        }
        preconditionFailure("the wheel finds memory for \(count) timers")
    }

    func empty() {
        for index in 0..<count { _ = ct_timer_take(core, timers[index]) }
        count = 0
    }
}
