import Glibc

/// Seeds that found bugs, in a file: the second word of each line that does not begin with `#`.
enum Pinned {
    /// Runs each of them twice. False when something is wrong with one, or with the file.
    static func execute(_ path: String) async -> Bool {
        let seeds = seeds(in: path)
        guard !seeds.isEmpty else {
            say("torture: no seeds in '\(path)'")
            return false
        }
        var isClean = true
        for seed in seeds {
            isClean = await Campaign(seeds: seed...seed, isRepeated: true).execute() == .clean && isClean
        }
        return isClean
    }

    private static func seeds(in path: String) -> [UInt64] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var seeds: [UInt64] = []
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let words = text.split(separator: " ")
            if !text.hasPrefix("#"), words.count > 1, let seed = UInt64(words[1]) { seeds.append(seed) }
        }
        return seeds
    }
}
