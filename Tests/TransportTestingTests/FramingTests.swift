import SwiftTransport
import Testing
import TransportTesting

/// Streams that are cut into frames: any pieces, any number of frames in one of them, what is wrong with them, and a peer that does not
/// read the answers.
@Suite struct FramingTests {
    /// Keeps what it is given, and says when a turn is over.
    private final class Keeping: ChannelHandler {
        var frames: [Buffer] = []
        var turns = 0
        var errors: [any Error] = []
        var ends = 0
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { frames.append(Buffer(bytes)) }
        func channelReadComplete(_ context: ChannelContext) { turns += 1 }
        func errorCaught(_ context: ChannelContext, _ error: any Error) { errors.append(error) }
        func inputClosed(_ context: ChannelContext) { ends += 1 }
    }

    /// Contents of many lengths, none, one and many bytes.
    private static let contents: [Buffer] = [0, 1, 5, 0, 300, 4096, 2, 70_000, 16].enumerated().map { index, count in
        Buffer((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index) | 1 })
    }

    private static func stream(_ format: LengthFieldFormat) -> Buffer {
        var stream = ByteBuffer()
        for content in contents {
            for _ in 0..<format.offset { stream.append(UInt8(9)) }
            let value = content.count - format.adjustment
            switch format.width {
            case 1: stream.append(UInt8(truncatingIfNeeded: value))
            case 2: stream.append(UInt16(truncatingIfNeeded: value), format.order)
            case 3:
                let bytes = (0..<3).map {
                    UInt8(truncatingIfNeeded: value >> (8 * (format.order == .big ? 2 - $0 : $0)))
                }
                for byte in bytes { stream.append(byte) }
            case 4: stream.append(UInt32(truncatingIfNeeded: value), format.order)
            default: stream.append(UInt64(value), format.order)
            }
            stream.append(content)
        }
        return stream.readAll()
    }

    private static let formats: [LengthFieldFormat] = [
        LengthFieldFormat(), LengthFieldFormat(order: .little), LengthFieldFormat(width: 3),
        LengthFieldFormat(width: 3, order: .little),
        LengthFieldFormat(width: 8), LengthFieldFormat(width: 8, order: .little, offset: 5),
        LengthFieldFormat(offset: 2, adjustment: -6),
    ]

    @Test(arguments: Self.formats, [1, 2, 3, 7, 64, 5000, 1_000_000])
    func everySplitGivesTheSameFrames(format: LengthFieldFormat, size: Int) throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.lengthField(format)), kept)
        try test.peer.send(Self.stream(format), inPiecesOf: size)
        #expect(kept.frames == Self.contents)
        #expect(kept.errors.isEmpty && kept.turns > 0)
        try test.peer.close()
        #expect(kept.ends == 1 && kept.errors.isEmpty)
    }

    /// Frames with their header, for whoever wants it.
    @Test func aHeaderMayStay() throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.lengthField(.init(width: 2, stripped: 0))), kept)
        try test.peer.send(Buffer([0, 1, 65, 0, 0, 0, 2, 66, 67]))
        #expect(kept.frames == [Buffer([0, 1, 65]), Buffer([0, 0]), Buffer([0, 2, 66, 67])])
        _ = try test.finish()
    }

    @Test(arguments: [1, 2, 3, 1000]) func linesEndWithALineFeed(size: Int) throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.lines()), kept)
        try test.peer.send("one\r\ntwo\n\n\r\nthree\r\r\n", inPiecesOf: size)
        #expect(kept.frames.map { String($0) } == ["one", "two", "", "", "three\r"])
        _ = try test.finish()
    }

    @Test(arguments: [1, 2, 3, 1000]) func delimitersMayBeCutInTwo(size: Int) throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.delimited(by: Array("--\n".utf8))), kept)
        try test.peer.send("a-b--\n-----\n--\nx--\n", inPiecesOf: size)
        #expect(kept.frames.map { String($0) } == ["a-b", "---", "", "x"])
        _ = try test.finish()
    }

    @Test(arguments: [1, 4, 5, 1000]) func framesOfOneLength(size: Int) throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.fixed(4)), kept)
        try test.peer.send("abcdefghijklmn", inPiecesOf: size)
        #expect(kept.frames.map { String($0) } == ["abcd", "efgh", "ijkl"])
        // Two bytes are left over, and that is told.
        try test.peer.close()
        #expect((kept.errors.first as? FrameError)?.code == .incomplete && kept.ends == 1)
    }

    // MARK: What is wrong

    /// A length from the peer takes no memory: it is refused when its field is there, before the content (CVE-2026-42583).
    @Test func aFrameAboveTheLimitEndsTheChannel() throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.lengthField(.init(limit: .kibibytes(1)))), kept)
        try test.peer.send(Buffer([0, 0, 0, 1, 42, 0x7F, 0xFF, 0xFF, 0xFF]))
        #expect(kept.frames == [Buffer([42])])
        #expect((kept.errors.first as? FrameError)?.code == .tooLong && kept.errors.count == 1)
        try test.peer.close()
        #expect(!test.channel.isActive)
    }

    @Test(arguments: [
        Buffer([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        Buffer([0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        Buffer([0, 0, 0, 0, 0, 0, 0, 7]),
    ])
    func noLengthTraps(field: Buffer) throws {
        for adjustment in [-8, Int.max, Int.min, 0] {
            let kept = Keeping()
            let test = try TestChannel(
                FrameHandler(.lengthField(.init(width: 8, adjustment: adjustment, limit: .kibibytes(1)))), kept)
            try test.peer.send(field)
            #expect(kept.frames.isEmpty)
            _ = try? test.finish()
        }
    }

    @Test func aLineAboveTheLimitEndsTheChannel() throws {
        let kept = Keeping()
        let test = try TestChannel(FrameHandler(.lines(limit: .bytes(10))), kept)
        try test.peer.send("123456789\n", inPiecesOf: 3)
        #expect(kept.frames == ["123456789"])
        try test.peer.send("12345678901", inPiecesOf: 1)
        #expect((kept.errors.first as? FrameError)?.code == .tooLong)
    }

    // MARK: Back pressure

    /// Answers each request with 100 KiB.
    private final class Generous: ChannelHandler {
        static let interests: ChannelEvents = [.read, .readComplete]
        var served = 0
        var most = 0
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            served += 1
            context.writeAndFlush(Buffer([UInt8](repeating: bytes.span.withUnsafeBytes { $0[0] }, count: 100 * 1024)))
            most = max(most, context.channel.pendingBytes)
        }
    }

    /// A hundred requests in one packet whose answers are a hundred times the limit: they wait here, and none is refused.
    @Test(arguments: Engine.allCases) func requestsWaitWhileTheirAnswersAreNotRead(engine: Engine) throws {
        let generous = Generous()
        let test = try TestChannel(FrameHandler(.fixed(1)), generous, engine: engine)
        try test.peer.stopReading()
        try test.peer.send(Buffer((1...100).map { UInt8($0) }))
        #expect(generous.served < 5)
        try test.peer.endOutput()
        #expect(generous.served < 5)
        try test.peer.startReading()
        #expect(generous.served == 100)
        #expect(generous.most <= 307_200)
        let answers = [UInt8](test.peer.takeBytes())
        #expect(answers.count == 10_240_000)
        let firsts: [UInt8] = (0..<100).map { answers[$0 * 102_400] }
        #expect(firsts == (1...100).map { UInt8($0) })
        #expect(!test.channel.isActive)
    }

    /// A small answer, and behind it one as large as the hard limit: the small one, which nobody has flushed yet, is no reason to refuse the
    /// other.
    private final class Mixed: ChannelHandler {
        static let interests: ChannelEvents = [.read, .readComplete]
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            let count = bytes.span.withUnsafeBytes { $0[0] } == 1 ? 1 << 20 : 7
            context.write(Buffer([UInt8](repeating: 9, count: count)))
        }
        func channelReadComplete(_ context: ChannelContext) { context.flush() }
    }

    @Test(arguments: Engine.allCases) func answersAsLargeAsTheLimitAreNotRefused(engine: Engine) throws {
        let test = try TestChannel(FrameHandler(.fixed(1)), Mixed(), engine: engine)
        try test.peer.send(Buffer([0, 1]))
        #expect(test.channel.isActive)
        #expect(test.peer.takeBytes().count == (1 << 20) + 7)
        _ = try test.finish()
    }

    // MARK: Messages

    private struct Point: Equatable { var x: Int32, y: Int32 }
    private struct Short: Error {}
    private struct PointDecoder: MessageDecoder {
        func decode(_ frame: ReadBytes) throws -> Point {
            var reader = ByteReader(frame)
            guard let x: Int32 = reader.readInteger(), let y: Int32 = reader.readInteger(.little), reader.isEmpty else {
                throw Short()
            }
            return Point(x: x, y: y)
        }
    }
    private final class Points: MessageHandler {
        static let interests: ChannelEvents = [.readComplete, .error]
        var points: [Point] = []
        var turns = 0
        var errors = 0
        func messageRead(_ context: ChannelContext, _ point: Point) {
            points.append(point)
            context.write(ByteReaderTests.bytes(point.x))
        }
        func channelReadComplete(_ context: ChannelContext) {
            turns += 1
            context.flush()
        }
        func errorCaught(_ context: ChannelContext, _ error: any Error) { if error is Short { errors += 1 } }
    }

    @Test func messagesComeWithTheirType() throws {
        let points = Points()
        let test = try TestChannel { _ in FrameHandler.handlers(.lengthField(.init(width: 1)), PointDecoder(), points) }
        try test.peer.send(Buffer([8, 0, 0, 0, 1, 2, 0, 0, 0, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF]))
        #expect(points.points == [Point(x: 1, y: 2), Point(x: -1, y: -2)])
        #expect(points.turns == 1)
        #expect(test.peer.takeBytes() == Buffer([0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]))
        // What cannot be decoded ends the channel, behind what was answered.
        try test.peer.send(Buffer([8, 0, 0, 0, 3, 0, 0, 0, 0, 1, 7, 8, 0, 0, 0, 4, 0, 0, 0, 0]))
        #expect(points.points.count == 3 && points.errors == 1)
        #expect(test.peer.takeBytes() == Buffer([0, 0, 0, 3]))
        try test.peer.close()
        #expect(!test.channel.isActive)
    }

    // MARK: The other half

    /// How writes ended, in the order in which that was told.
    private final class Outcomes: @unchecked Sendable {
        private(set) var codes: [TransportError.Code?] = []
        func add(_ code: TransportError.Code?) { codes.append(code) }
    }

    @Test(arguments: Self.formats) func aPrependerWritesWhatAHandlerReads(format: LengthFieldFormat) throws {
        let told = Outcomes()
        let test = try TestChannel(LengthFieldPrepender(format))
        for content in Self.contents {
            try test.run { $0.writeAndFlush(content, promise: .callback { told.add($0?.code) }) }
        }
        #expect(told.codes == Self.contents.map { _ in nil })
        var expected = [UInt8](Self.stream(format))
        // What stands before the field is the protocol's.
        if format.offset > 0 {
            let kept = Keeping()
            let reader = try TestChannel(FrameHandler(.lengthField(format)), kept)
            try reader.peer.send(test.peer.takeBytes())
            #expect(kept.frames == Self.contents)
            expected = []
        } else {
            #expect([UInt8](test.peer.takeBytes()) == expected)
        }
        _ = try test.finish()
    }

    /// Never a header without its content: either both are taken or neither, at the hard limit too.
    @Test func aFrameIsTakenAsAWholeOrNotAtAll() throws {
        let test = try TestChannel(
            LengthFieldPrepender(), options: [.waterMark(low: .bytes(100), high: .bytes(200), hardLimit: .bytes(1000))])
        try test.peer.stopReading()
        let results = Outcomes()
        for count in [20_000, 60, 300, 2, 1, 0, 100] {
            try test.run {
                $0.writeAndFlush(
                    Buffer([UInt8](repeating: 7, count: count)), promise: .callback { results.add($0?.code) })
            }
        }
        let kept = Keeping()
        let reader = try TestChannel(FrameHandler(.lengthField()), kept)
        try test.peer.startReading()
        try reader.peer.send(test.peer.takeBytes())
        #expect(results.codes.count == 7)
        #expect(kept.frames.count == results.codes.filter { $0 == nil }.count && kept.errors.isEmpty)
        try reader.peer.close()
        #expect(kept.errors.isEmpty)
        #expect(results.codes.contains(.outboundQueueFull) && results.codes.contains(nil))
    }

    @Test func whatTheFieldCannotCountIsRefused() throws {
        let results = Outcomes()
        let test = try TestChannel(LengthFieldPrepender(.init(width: 1)))
        for count in [255, 256] {
            try test.run {
                $0.writeAndFlush(
                    Buffer([UInt8](repeating: 7, count: count)), promise: .callback { results.add($0?.code) })
            }
        }
        #expect(results.codes == [nil, .unencodableMessage])
        #expect(test.peer.takeBytes().count == 256)
        _ = try test.finish()
    }

    // MARK: Tasks

    @Test(arguments: Engine.allCases) func aConnectionReadsFrames(engine: Engine) async throws {
        try await simulated(engine) { network in
            let server = network.addHost("server")
            let client = network.addHost("client")
            let bound = try await ServerBootstrap(group: server.makeGroup())
                .serve { connection in
                    for try await frame in connection.frames(.lines()) {
                        try await connection.send("<\(String(frame))>\n")
                    }
                }
                .bind(host: "0.0.0.0", port: 7000)
            let connection = try await ClientBootstrap(group: client.makeGroup()).open(host: "server", port: 7000)
            var answers = connection.frames(.lines()).makeAsyncIterator()
            for text in ["on", "e\ntwo\nthr", "ee\n"] { try await connection.send(text) }
            for expected in ["<one>", "<two>", "<three>"] {
                #expect(try await answers.next().map { String($0) } == expected)
            }
            try await connection.send("cut o")
            connection.channel.shutdownOutput()
            // The server's task has failed with what was left over, and the connection is closed.
            #expect(try await answers.next() == nil)
            bound.close()
        }
    }
}

/// Cursors over bytes, and a buffer that grows.
@Suite struct ByteReaderTests {
    static func bytes<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) -> Buffer {
        var buffer = ByteBuffer()
        buffer.append(value)
        return buffer.readAll()
    }

    @Test func nothingIsReadBeyondTheEnd() {
        let buffer = Buffer([1, 2, 3])
        var reader = ByteReader(buffer)
        let tooLong: UInt32? = reader.readInteger()
        let little: UInt16? = reader.readInteger(.little)
        #expect(tooLong == nil && little == 0x0201)
        let beyond: [UInt8?] = [reader.peekInteger(at: 1), reader.peekInteger(at: -1), reader.peekInteger(at: .max)]
        #expect(beyond == [nil, nil, nil])
        let parts = [reader.readBuffer(2), reader.readBuffer(-1), reader.readBuffer(.max)]
        #expect(parts == [nil, nil, nil])
        let text = reader.readString(.max)
        let (skips, stays) = (reader.skip(2), reader.skip(0))
        #expect(text == nil && !skips && stays)
        let distance = reader.distance(to: 3)
        let last: UInt8? = reader.readInteger()
        #expect(distance == 0 && last == 3)
        let none: UInt8? = reader.readInteger()
        let nowhere = reader.distance(to: 3)
        let nothing = reader.readString(0)
        let isEmpty = reader.isEmpty
        #expect(none == nil && nowhere == nil && nothing == "" && isEmpty)
    }

    @Test func integersOfEitherOrderComeBack() {
        var buffer = ByteBuffer()
        buffer.append(Int64(-5))
        buffer.append(UInt16(258), .little)
        buffer.append("text")
        buffer.append(UInt8(9))
        let peeked: UInt16? = buffer.peekInteger(.little, at: 8)
        let first: Int64? = buffer.readInteger()
        let second: UInt16? = buffer.readInteger(.little)
        #expect(peeked == 258 && first == -5 && second == 258)
        let text = buffer.readString(4)
        let tooLong: UInt16? = buffer.readInteger()
        let part = buffer.readBuffer(2)
        #expect(text == "text" && tooLong == nil && part == nil)
        let last: UInt8? = buffer.readInteger()
        let isEmpty = buffer.isEmpty
        #expect(last == 9 && isEmpty)
    }

    /// What was given out does not change, whatever is put in later.
    @Test func slicesStayAsTheyAre() {
        var buffer = ByteBuffer()
        var slices: [(Buffer, UInt8)] = []
        for round in 0..<200 {
            let byte = UInt8(truncatingIfNeeded: round)
            buffer.append([UInt8](repeating: byte, count: round).span.bytes)
            buffer.append(atMost: 10) { output in for _ in 0..<5 { output.append(byte) } }
            if let slice = buffer.readBuffer(round / 2) { slices.append((slice, 0)) }
            if round % 3 == 0 { slices.append((buffer.readAll(), byte)) }
        }
        let copies = slices.map { [UInt8]($0.0) }
        for _ in 0..<50 { buffer.append([UInt8](repeating: 0xEE, count: 100).span.bytes) }
        #expect(slices.map { [UInt8]($0.0) } == copies)
        #expect(!copies.contains { $0.contains(0xEE) })
    }
}
