import Foundation

/// A limit of this process, as getrlimit(2) has it.
struct ResourceLimit {
    var soft: UInt64
    var hard: UInt64

    static var descriptors: ResourceLimit { ResourceLimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue)) }
    // RLIMIT_MEMLOCK, a GNU extension that the module map does not show.
    static var lockedMemory: ResourceLimit { ResourceLimit(__rlimit_resource_t(8)) }

    private init(_ resource: __rlimit_resource_t) {
        var limit = rlimit()
        getrlimit(resource, &limit)
        soft = UInt64(limit.rlim_cur)
        hard = UInt64(limit.rlim_max)
    }

    /// `20000 (hard 1048576)`
    func described(_ number: (UInt64) -> String = { "\($0)" }) -> String {
        func text(_ value: UInt64) -> String { value == UInt64.max ? "unlimited" : number(value) }
        return "\(text(soft)) (hard \(text(hard)))"
    }
}
