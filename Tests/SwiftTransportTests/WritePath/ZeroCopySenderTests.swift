import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// The book-keeping of sends without a copy, alone: loopback copies at once, so that little of it shows on a socket.
    @Suite struct ZeroCopyBooks {
        private let sender = ZeroCopySender(threshold: .kibibytes(40))

        private func result(_ result: Int32, more: Bool = true) -> ct_event {
            var event = ct_event()
            event.result = result
            event.flags = more ? UInt16(CT_EVENT_MORE) : 0
            return event
        }
        private func notification(_ number: Int, copied: Bool = false) -> ct_event {
            var event = ct_event()
            event.token = UInt64(number & Int(CT_SEND_TAG_MAX))
            event.flags = copied ? UInt16(CT_EVENT_COPIED) : 0
            return event
        }
        /// One send and its result; the walk over what it took ends in the middle of a write or not.
        @discardableResult
        private func send(_ event: ct_event) -> Bool {
            _ = sender.begin()
            return sender.sent(event)
        }
        private func owner(_ bytes: Int) -> (owner: UInt, witness: Witness) {
            let buffer = Buffer(WritePath.bytes(bytes))
            return (OutboundOwner.object(buffer.owner!), Witness(buffer))
        }

        /// From the threshold on, and never below the size from which it pays.
        @Test func largeWritesAreSentWithoutACopy() {
            #expect(sender.wants(40 * 1024) && !sender.wants(40 * 1024 - 1))
            let small = ZeroCopySender(threshold: 1)
            #expect(small.wants(ZeroCopySender.smallest) && !small.wants(ZeroCopySender.smallest - 1))
        }

        /// No memory that may be locked, no buffers, or a socket that cannot: repeated with a copy, and never tried again.
        @Test(arguments: [ENOMEM, ENOBUFS, EOPNOTSUPP])
        func shortagesAreRepeatedWithACopy(error: Int32) {
            #expect(send(result(-error, more: false)))
            #expect(sender.isGivenUp && !sender.wants(1 << 20))
        }

        /// Any other failure is the connection's.
        @Test(arguments: [ECONNRESET, EPIPE, EAGAIN])
        func otherFailuresAreTheConnections(error: Int32) {
            #expect(!send(result(-error, more: false)) && !sender.isGivenUp && !sender.isOutstanding)
        }

        /// Sixteen notifications may be outstanding; further sends copy until one of them has come.
        @Test func outstandingNotificationsHaveALimit() {
            var memory = OutboundMemory(LoopOptions())
            for _ in 0..<16 {
                #expect(sender.wants(1 << 20))
                #expect(!send(result(1 << 20)))
            }
            #expect(!sender.wants(1 << 20))
            _ = sender.notified(notification(0), &memory)
            #expect(sender.wants(1 << 20))
            memory.deallocate()
        }

        /// Memory is held until the notifications of all sends with a part of it have come, and of those before, in whatever
        /// order they come.
        @Test func memoryIsHeldUntilTheLastNotification() {
            var memory = OutboundMemory(LoopOptions())
            let (first, firstWitness) = owner(5000)
            let (second, secondWitness) = owner(7000)
            #expect(!sender.hold(OutboundOwner.nobody, 1))
            // The first write in two sends, the second in the last one of them.
            send(result(3000))
            sender.walked(isPartial: true)
            send(result(9000))
            #expect(sender.hold(first, 5000) && sender.hold(second, 7000))
            sender.walked(isPartial: false)
            #expect(sender.notified(notification(1), &memory) == 0)
            #expect(!firstWitness.isFreed && !secondWitness.isFreed && sender.isOutstanding)
            #expect(sender.notified(notification(0), &memory) == 12_000)
            #expect(firstWitness.isFreed && secondWitness.isFreed && !sender.isOutstanding)
            memory.deallocate()
        }

        /// A write that was begun without a copy and finished with one; those behind it are nobody's business.
        @Test func aWriteMayBeFinishedWithACopy() {
            var memory = OutboundMemory(LoopOptions())
            let (owner, witness) = owner(5000)
            send(result(3000))
            sender.walked(isPartial: true)
            #expect(sender.hold(owner, 5000))
            let (other, _) = self.owner(10)
            #expect(!sender.hold(other, 10))
            OutboundOwner.release(other, to: &memory)
            #expect(sender.notified(notification(0), &memory) == 5000)
            #expect(witness.isFreed)
            memory.deallocate()
        }

        /// A steady stream, with one notification or more always outstanding, holds what is outstanding and nothing else.
        @Test func aSteadyStreamLetsGo() {
            var memory = OutboundMemory(LoopOptions())
            var held = 0
            for number in 0..<10_000 {
                let (owner, _) = owner(100)
                send(result(100))
                if sender.hold(owner, 100) { held += 100 }
                sender.walked(isPartial: false)
                if number >= 3 { held -= sender.notified(notification(number - 3), &memory) }
                #expect(held <= 400 && sender.isOutstanding)
            }
            for number in 9997..<10_000 { held -= sender.notified(notification(number), &memory) }
            #expect(held == 0 && !sender.isOutstanding)
            memory.deallocate()
        }

        /// A kernel without memory drops completions, and notifications with them: the end of the descriptor is theirs too.
        @Test func theEndLetsGoOfEverything() {
            var memory = OutboundMemory(LoopOptions())
            let (owner, witness) = owner(5000)
            for _ in 0..<3 { send(result(3000)) }
            #expect(sender.hold(owner, 5000))
            #expect(sender.notified(notification(1), &memory) == 0)
            #expect(sender.closed(&memory) == 5000)
            #expect(witness.isFreed && !sender.isOutstanding)
            memory.deallocate()
        }

        /// Given up at the eighth copy in a row; one that was no copy starts the count anew.
        @Test func eightCopiesInARowGiveItUp() {
            var memory = OutboundMemory(LoopOptions())
            let copies = [Bool](repeating: true, count: 7) + [false] + [Bool](repeating: true, count: 7)
            for (number, copied) in copies.enumerated() {
                send(result(1 << 20))
                _ = sender.notified(notification(number, copied: copied), &memory)
                #expect(!sender.isGivenUp)
            }
            send(result(1 << 20))
            _ = sender.notified(notification(copies.count, copied: true), &memory)
            #expect(sender.isGivenUp)
            memory.deallocate()
        }
    }
}
