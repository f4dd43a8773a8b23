import Testing

@testable import SwiftTransport

/// What there is one of for each write, handler and connection stays as small as it is. Who makes one larger does it
/// on purpose, and says here what it is worth.
@Suite struct SizeTests {
    @Test func aQueuedWriteIsThreeQuartersOfACacheLine() {
        #expect(MemoryLayout<OutboundEntry>.stride == 48)
        #expect(MemoryLayout<WriteCompletion>.size == 17 && MemoryLayout<WriteCompletion>.stride == 24)
        #expect(MemoryLayout<WritePromise>.size == MemoryLayout<WriteCompletion>.size)
        #expect(MemoryLayout<WriteResult>.size == 16)
    }

    /// Plain memory: copying one counts no reference.
    @Test func aQueuedWriteIsPlainMemory() {
        #expect(_isPOD(OutboundEntry.self) && _isPOD(WriteCompletion.self) && _isPOD(WriteHandle.self))
        #expect(_isPOD(PipelineLink.self) && _isPOD(ChannelReference.self) && _isPOD(OutboundQueue.self))
    }

    @Test func aReferenceIsAWord() {
        #expect(MemoryLayout<ContextReference?>.size == 8)
        #expect(MemoryLayout<PipelineLink>.size == 8)
        #expect(MemoryLayout<ChannelReference?>.size == 8)
        #expect(MemoryLayout<OutboundQueue?>.size == 8)
    }

    @Test func whatEveryTurnTouchesIsSmall() {
        #expect(MemoryLayout<ChannelContext.Own>.size == 32)
        #if !DEBUG
            #expect(MemoryLayout<Channel.Own>.size <= 124)
        #endif
    }
}
