import Glibc

/// SplitMix64: the same numbers from the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Between `low` and `high`, every order of magnitude equally likely.
    mutating func logUniform(_ low: Int, _ high: Int) -> Int {
        let exponent = Double.random(in: log2(Double(low))...log2(Double(high)), using: &self)
        return min(high, max(low, Int(exp2(exponent).rounded())))
    }
}

/// Bytes that everybody who knows the seed can check: a piece of one large random table, so that checking is a memcmp and
/// a lost, repeated or moved byte shows within the next few.
struct Pattern: Sendable {
    private static let size = (1 << 20) + 4099
    private static let table: [UInt8] = {
        var generator = SeededGenerator(seed: 0x5EED)
        return (0..<size).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }()
    private let phase: Int

    init(seed: UInt64) { phase = Int(seed % UInt64(Self.size)) }

    /// True when `bytes` are the pattern's bytes from `offset` on.
    func matches(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        var offset = offset
        var rest = bytes[...]
        while !rest.isEmpty {
            let (start, length) = piece(at: offset, upTo: rest.count)
            let same = Self.table.withUnsafeBytes { table in
                memcmp(table.baseAddress! + start, UnsafeRawBufferPointer(rebasing: rest).baseAddress!, length) == 0
            }
            if !same { return false }
            offset += length
            rest = rest.dropFirst(length)
        }
        return true
    }

    func bytes(at offset: Int, count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count)
        while result.count < count {
            let (start, length) = piece(at: offset + result.count, upTo: count - result.count)
            result += Self.table[start..<start + length]
        }
        return result
    }

    private func piece(at offset: Int, upTo limit: Int) -> (start: Int, length: Int) {
        let start = (phase + offset) % Self.size
        return (start, min(limit, Self.size - start))
    }
}
