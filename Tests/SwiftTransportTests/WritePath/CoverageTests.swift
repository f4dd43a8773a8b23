import Foundation
import Testing

extension WritePath {
    /// `Documentation/MissionCoverage.md` says the truth.
    @Suite struct Coverage {
        private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        private static let root = tests.deletingLastPathComponent()

        /// Every row has a test, and every test that is named exists.
        @Test func everyRowHasATest() throws {
            let sources = try Self.sources(in: "Tests")
            let rows = try Self.rows()
            for row in rows {
                #expect(!row.tests.isEmpty, "\(row.name) has no test")
                for name in row.tests {
                    let parts = name.split(separator: ".")
                    let found =
                        parts.count == 2
                        && sources["\(parts[0]).swift", default: []].contains { $0.contains("func \(parts[1])(") }
                    #expect(found, "\(row.name): there is no \(name)")
                }
            }
            let names = rows.map(\.name)
            let wanted = (1...27).map { "W\($0)" } + (1...6).map { "M\($0)" } + (1...6).map { "P\($0)" }
            #expect(wanted.filter { !names.contains($0) } == [])
            #expect(names.count { $0.contains("#") } >= 18)
        }

        /// A code in a comment is one of a row.
        @Test func everyCodeHasARow() throws {
            let names = Set(try Self.rows().map(\.name))
            var codes: Set<String> = []
            for folder in ["Sources", "Tests", "Benchmarks/Sources", "Examples/Sources"] {
                for text in try Self.sources(in: folder).values.joined() {
                    for line in text.split(separator: "\n") {
                        guard let comment = line.range(of: "//") else { continue }
                        codes.formUnion(
                            line[comment.upperBound...].matches(of: /\b[A-Z][0-9]{1,2}\b/).map { String($0.output) })
                    }
                }
            }
            #expect(codes.count > 30)
            #expect(codes.subtracting(names).sorted() == [])
        }

        private struct Row {
            var name: String
            var tests: [String]
        }

        /// The rows of all tables that have a column "pinned by".
        private static func rows() throws -> [Row] {
            let page = root.appendingPathComponent("Documentation/MissionCoverage.md")
            var rows: [Row] = []
            var column: Int?
            for line in try String(contentsOf: page, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            {
                let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
                if !line.hasPrefix("|") {
                    column = nil
                } else if let header = cells.firstIndex(of: "pinned by") {
                    column = header
                } else if let column, line.hasPrefix("| "), column < cells.count {
                    let tests = cells[column].split(separator: ",").map {
                        $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
                    }
                    rows.append(Row(name: cells[0], tests: tests))
                }
            }
            return rows
        }

        /// The texts of all Swift files in a folder of the repository, by name.
        private static func sources(in folder: String) throws -> [String: [String]] {
            var sources: [String: [String]] = [:]
            let files = FileManager.default.enumerator(
                at: root.appendingPathComponent(folder), includingPropertiesForKeys: nil, options: .skipsHiddenFiles)
            while let file = files?.nextObject() as? URL {
                guard file.pathExtension == "swift" else { continue }
                sources[file.lastPathComponent, default: []].append(try String(contentsOf: file, encoding: .utf8))
            }
            return sources
        }
    }
}
