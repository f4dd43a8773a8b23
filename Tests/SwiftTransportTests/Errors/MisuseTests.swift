import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Mistakes of the program stop it, and say in every build which call it was and what to do. `make test` runs these in an
    /// optimised build too, where a precondition has no words.
    struct MisuseTests {
        enum Mistake: String, CaseIterable, Codable, Sendable {
            case addLast = "addLast(_:)"
            case addFirst = "addFirst(_:)"
            case addBehind = "add(_:behind:)"
            case remove = "remove(_:)"
            case withContext = "withContext(of:_:)"
            case cancel = "cancel(_:)"
            case currentStatistics
            case loopBound = "LoopBound.withValue(_:)"
            case isolation = "isolated to event loop 0"
            case writabilityFlag = "writability flags are numbered 1 to 31, not 32"
            case writabilityFlagZero = "writability flags are numbered 1 to 31, not 0"
            case readingFlag = "reading flags are numbered 1 to 15, not 16"

            var isAboutTheThread: Bool { rawValue.hasSuffix(")") || self == .currentStatistics }

            func make() throws {
                let loop = try EventLoopGroup(loops: 1).loops[0]
                let channel = Channel(eventLoop: loop, configuration: ChannelConfiguration())
                let context = ChannelContext(EchoHandler(), channel: channel)
                switch self {
                case .addLast: channel.pipeline.addLast(EchoHandler())
                case .addFirst: channel.pipeline.addFirst(EchoHandler())
                case .addBehind: channel.pipeline.add(EchoHandler(), behind: context)
                case .remove: channel.pipeline.remove(context)
                case .withContext: channel.pipeline.withContext(of: EchoHandler.self) { _ in }
                case .cancel: channel.cancel(.stale)
                case .currentStatistics: _ = loop.currentStatistics
                case .loopBound: LoopBound(1, on: loop).withValue { _ in }
                case .isolation: loop.checkIsolated()
                case .writabilityFlag: channel.setWritable(true, flag: 32)
                case .writabilityFlagZero: channel.setWritable(true, flag: 0)
                case .readingFlag: channel.setReading(true, flag: 16)
                }
            }
        }

        @Test(arguments: Mistake.allCases) func aMistakeStopsTheProgramWithAReason(_ mistake: Mistake) async {
            let result = await #expect(
                processExitsWith: .failure, observing: [\.standardErrorContent]
            ) { [mistake = mistake as Mistake] in try mistake.make() }
            let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
            #expect(text.contains("SwiftTransport: ") && text.contains(mistake.rawValue), "\(text)")
            if mistake.isAboutTheThread {
                #expect(text.contains("event loop") && text.contains("execute(_:)"), "\(text)")
            }
        }
    }
}
