import Glibc

/// SplitMix64: the same numbers from the same seed, everywhere.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    /// What a copy would begin from.
    var seed: UInt64 { state }

    init(_ seed: UInt64) { state = seed }

    /// One for each part of a run, so that what one part draws does not change what another does.
    init(_ seed: UInt64, _ part: UInt64, _ salt: UInt64) {
        var mixed = Random(seed ^ part &* 0x9E37_79B9_7F4A_7C15)
        self.init(mixed.next() ^ salt &* 0xD6E8_FEB8_6659_FD93)
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ limit: Int) -> Int { limit <= 1 ? 0 : Int(next() % UInt64(limit)) }
    mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }
    mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }
    mutating func flip() -> Bool { next() & 1 == 0 }

    /// Between `low` and `high`, every order of magnitude equally likely.
    mutating func logarithmic(_ low: Int, _ high: Int) -> Int {
        let exponent = Double(next() >> 11) / Double(1 << 53) * (log2(Double(high)) - log2(Double(low)))
        return min(high, max(low, Int((Double(low) * exp2(exponent)).rounded())))
    }
}
