import CTransport
import Foundation
import Testing

@testable import SwiftTransport

/// The pages of the repository say what is so.
struct DocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    // MARK: Drawings

    /// Close, a hole and the end of the time lead away from almost everywhere: a table beneath the drawing tells of them.
    @Test func aChannelsLifeIsAsItIsDrawn() throws {
        let events: [ChannelLifecycle.Event] = [
            .connected, .inputEnded, .outputEnds, .sent, .drain, .delivered, .shutdown, .released,
        ]
        var lines: Set<String> = []
        for phase in ChannelLifecycle.Phase.allCases {
            for event in events {
                let next = ChannelLifecycle(phase).transition(event).phase
                if next != phase { lines.insert("\(phase) --> \(next): \(event)") }
            }
        }
        var drawn: Set<String> = []
        for (arrow, label) in try Self.arrows("The life of a channel") {
            for event in label.components(separatedBy: ", ") { drawn.insert("\(arrow): \(event)") }
        }
        #expect(lines.count > 20)
        #expect(lines.subtracting(drawn).sorted() == [], "not drawn")
        #expect(drawn.subtracting(lines).sorted() == [], "drawn, and not so")
    }

    @Test func aSlotsLifeIsAsItIsDrawn() throws {
        let states = [
            ("FREE", CT_SLOT_FREE), ("OPEN", CT_SLOT_OPEN), ("CLOSING", CT_SLOT_CLOSING),
            ("TO_CLOSE", CT_SLOT_TO_CLOSE),
            ("NOTIFYING", CT_SLOT_NOTIFYING), ("CLOSED", CT_SLOT_CLOSED),
        ]
        var lines: Set<String> = []
        for (from, first) in states {
            for (to, second) in states where ct_slot_may_become(first, second) { lines.insert("\(from) --> \(to)") }
        }
        #expect(lines.count > 5)
        #expect(try Set(Self.arrows("The life of a slot").map(\.arrow)) == lines)
    }

    /// The labelled arrows of the drawing in a section of Architecture.md.
    private static func arrows(_ section: String) throws -> [(arrow: String, label: String)] {
        let page = try text("Documentation/Architecture.md")
        let body = try #require(page.components(separatedBy: "## \(section)\n").dropFirst().first)
        let drawing = try #require(body.components(separatedBy: "```").dropFirst().first)
        return drawing.split(separator: "\n").compactMap { line in
            let parts = line.trimmingCharacters(in: .whitespaces).components(separatedBy: ": ")
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
    }

    // MARK: Names

    /// Files, links and names in code type exist.
    @Test(arguments: [
        "CONTRIBUTING.md", "README.md", "Documentation/Architecture.md", "Documentation/Debugging.md",
        "Documentation/Decisions.md", "Documentation/Engines.md", "Documentation/MissionCoverage.md",
    ]) func whatAPageNamesExists(page: String) throws {
        let (files, words) = try #require(Self.repository)
        let text = try Self.text(page)
        // Listings are compiled, or for the eye.
        let prose = text.components(separatedBy: "```").enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
            .joined()
        for match in prose.matches(of: /`([A-Za-z_][A-Za-z0-9_+]*)(\.swift|\.c|\.h|\.md|\(\))?`/) {
            let name = String(match.1)
            if let end = match.2, end != "()" {
                let isThere = files.contains(name + end)
                #expect(isThere, "\(page): there is no file \(name)\(end)")
            } else if name.contains("_") || name.dropFirst().contains(where: \.isUppercase) {
                let isThere = words.contains(name) || files.contains(name + ".swift")
                #expect(isThere, "\(page): there is no \(name)")
            }
        }
        let folder = Self.root.appendingPathComponent(page).deletingLastPathComponent()
        for match in text.matches(of: /\]\(([^)#:]+)[^):]*\)/) {
            let target = folder.appendingPathComponent(String(match.1)).path
            let isThere = FileManager.default.fileExists(atPath: target)
            #expect(isThere, "\(page): a link to \(match.1)")
        }
    }

    /// The names of all files, and all words in those that are compiled or run.
    private static let repository: (files: Set<String>, words: Set<String>)? = {
        var names: Set<String> = []
        var words: Set<String> = []
        for folder in [
            "Sources", "Tests", "Benchmarks/Sources", "Examples/Sources", "Scripts", "Documentation", "Makefile",
        ] {
            let start = root.appendingPathComponent(folder)
            let below = FileManager.default.enumerator(
                at: start, includingPropertiesForKeys: nil, options: .skipsHiddenFiles)
            for file in [start] + (below?.compactMap { $0 as? URL } ?? []) {
                guard !file.path.contains(" "), let text = try? String(contentsOf: file, encoding: .utf8) else {
                    continue
                }
                names.insert(file.lastPathComponent)
                guard file.pathExtension != "md", !file.lastPathComponent.contains("DocumentationTests") else {
                    continue
                }
                var word: [UInt8] = []
                for byte in Array(text.utf8) + [0] {
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                        word.append(byte)
                    default:
                        if !word.isEmpty { words.insert(String(decoding: word, as: UTF8.self)) }
                        word.removeAll(keepingCapacity: true)
                    }
                }
            }
        }
        return words.isEmpty ? nil : (names, words)
    }()
}
