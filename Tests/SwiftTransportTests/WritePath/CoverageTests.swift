import Foundation
import Testing

extension WritePath {
    /// The table of `Documentation/MissionCoverage.md` says the truth.
    @Suite struct Coverage {
        private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        private static let page = tests.deletingLastPathComponent().appendingPathComponent(
            "Documentation/MissionCoverage.md")

        /// Every row has a test, and every test that is named exists.
        @Test func everyRowHasATest() throws {
            let sources = try Self.sources()
            var rows: [String] = []
            for line in try String(contentsOf: Self.page, encoding: .utf8).split(separator: "\n") {
                let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
                guard line.hasPrefix("| "), cells.count >= 2, cells[1] != "pinned by" else { continue }
                rows.append(cells[0])
                let names = cells[1].split(separator: ",").map {
                    $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
                }
                #expect(!names.isEmpty, "\(cells[0]) has no test")
                for name in names {
                    let parts = name.split(separator: ".")
                    let found =
                        parts.count == 2
                        && sources["\(parts[0]).swift", default: []].contains { $0.contains("func \(parts[1])(") }
                    #expect(found, "\(cells[0]): there is no \(name)")
                }
            }
            let wanted = (1...27).map { "W\($0)" } + (1...6).map { "M\($0)" } + (1...6).map { "P\($0)" }
            #expect(wanted.filter { !rows.contains($0) } == [])
            #expect(rows.count { $0.contains("#") } >= 18)
        }

        /// The texts of all test files, by name.
        private static func sources() throws -> [String: [String]] {
            var sources: [String: [String]] = [:]
            let files = FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil)
            while let file = files?.nextObject() as? URL {
                guard file.pathExtension == "swift" else { continue }
                sources[file.lastPathComponent, default: []].append(try String(contentsOf: file, encoding: .utf8))
            }
            return sources
        }
    }
}
