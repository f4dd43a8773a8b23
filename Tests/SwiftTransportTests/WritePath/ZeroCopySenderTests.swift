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
        private func notification(copied: Bool) -> ct_event {
            var event = ct_event()
            event.flags = copied ? UInt16(CT_EVENT_COPIED) : 0
            return event
        }

        /// From the threshold on, and never below the size from which it pays.
        @Test func fromTheThreshold() {
            #expect(sender.wants(40 * 1024) && !sender.wants(40 * 1024 - 1))
            let small = ZeroCopySender(threshold: 1)
            #expect(small.wants(ZeroCopySender.smallest) && !small.wants(ZeroCopySender.smallest - 1))
        }

        /// No memory that may be locked, no buffers, or a socket that cannot: repeated with a copy, and never tried again.
        @Test(arguments: [ENOMEM, ENOBUFS, EOPNOTSUPP])
        func failuresThatAreRepeated(error: Int32) {
            #expect(sender.sent(result(-error, more: false)))
            #expect(sender.isGivenUp && !sender.wants(1 << 20))
        }

        /// Any other failure is the connection's.
        @Test(arguments: [ECONNRESET, EPIPE, EAGAIN])
        func failuresThatAreNot(error: Int32) {
            #expect(!sender.sent(result(-error, more: false)) && !sender.isGivenUp && !sender.isOutstanding)
        }

        /// Sixteen notifications may be outstanding; further sends copy until one of them has come.
        @Test func outstandingHasALimit() {
            var memory = OutboundMemory(LoopOptions())
            for _ in 0..<16 {
                #expect(sender.wants(1 << 20))
                #expect(!sender.sent(result(1 << 20)))
            }
            #expect(!sender.wants(1 << 20))
            sender.notified(notification(copied: false), &memory)
            #expect(sender.wants(1 << 20))
            memory.deallocate()
        }

        /// Memory is held from the result until no notification is outstanding, whichever of them comes first, and only then.
        @Test func heldUntilTheLastNotification() {
            var memory = OutboundMemory(LoopOptions())
            let witness = {
                let buffer = Buffer(WritePath.bytes(5000))
                let owner = OutboundOwner.object(.passRetained(buffer.storage!))
                #expect(!sender.hold(owner))
                for _ in 0..<2 { _ = sender.sent(result(5000)) }
                #expect(sender.hold(owner))
                return Witness(buffer)
            }()
            sender.notified(notification(copied: false), &memory)
            #expect(!witness.isFreed && sender.isOutstanding)
            sender.notified(notification(copied: false), &memory)
            #expect(witness.isFreed && !sender.isOutstanding)
            memory.deallocate()
        }

        /// Given up at the eighth copy in a row; one that was no copy starts the count anew.
        @Test func copiesInARow() {
            var memory = OutboundMemory(LoopOptions())
            for copied in [Bool](repeating: true, count: 7) + [false] + [Bool](repeating: true, count: 7) {
                _ = sender.sent(result(1 << 20))
                sender.notified(notification(copied: copied), &memory)
                #expect(!sender.isGivenUp)
            }
            _ = sender.sent(result(1 << 20))
            sender.notified(notification(copied: true), &memory)
            #expect(sender.isGivenUp)
            memory.deallocate()
        }
    }
}
