/// The first bytes of every connection: whose it is.
enum Hello {
    static let length = 16
    private static let magic: UInt64 = 0x544F_5254_5552_4521

    static func bytes(_ id: UInt64) -> [UInt8] {
        withUnsafeBytes(of: magic.bigEndian) { [UInt8]($0) } + withUnsafeBytes(of: id.bigEndian) { [UInt8]($0) }
    }

    static func id(_ bytes: [UInt8]) -> UInt64? {
        guard bytes.count == length else { return nil }
        let words = bytes.withUnsafeBytes {
            (
                $0.loadUnaligned(as: UInt64.self).bigEndian,
                $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
            )
        }
        return words.0 == magic ? words.1 : nil
    }
}
