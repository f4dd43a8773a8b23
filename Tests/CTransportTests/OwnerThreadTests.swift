import CTransport
import Glibc
import Testing

/// What belongs to the loop's own thread stops the program on another one, in every build.
@Suite struct OwnerThreadTests {
    enum Call: String, CaseIterable, Codable {
        case turn, open, receive, stop, send, sendNow, close, reset, arm, take, post, takeMessages, shut, statistics,
            destroy

        func make(on loop: OpaquePointer, _ slot: UnsafeMutablePointer<ct_slot>) {
            switch self {
            case .turn:
                withUnsafeTemporaryAllocation(of: ct_event.self, capacity: 64) { _ = turn(loop, $0.baseAddress!) }
            case .open: _ = ct_slot_open(loop, 0, false, nil)
            case .receive: _ = ct_receive_start(loop, slot)
            case .stop: ct_receive_stop(loop, slot)
            case .send: _ = send(loop, slot, ct_send)
            case .sendNow: _ = send(loop, slot, ct_send_now)
            case .close: ct_slot_close(loop, slot)
            case .reset: ct_slot_reset(loop, slot)
            case .arm: _ = ct_timer_arm(loop, 0, UnsafeMutableRawPointer(loop))
            case .take: _ = ct_timer_take(loop, 0)
            case .post: _ = ct_mailbox_post_local(loop, ct_message())
            case .takeMessages:
                var message = ct_message()
                _ = ct_mailbox_take(loop, &message, 1)
            case .shut: ct_mailbox_close(loop)
            case .statistics: _ = ct_loop_statistics_of(loop)
            case .destroy: ct_loop_destroy(loop)
            }
        }

        private func turn(_ loop: OpaquePointer, _ events: UnsafeMutablePointer<ct_event>) -> UInt32 {
            ct_loop_run_once(loop, 0, events, 64)
        }

        private typealias Send = (
            OpaquePointer, UnsafeMutablePointer<ct_slot>, UnsafePointer<iovec>, UInt32
        ) -> Int32

        private func send(_ loop: OpaquePointer, _ slot: UnsafeMutablePointer<ct_slot>, _ call: Send) -> Int32 {
            var vector = iovec()
            return call(loop, slot, &vector, 1)
        }
    }

    @Test(arguments: Call.allCases) func anotherThreadStopsTheProgram(_ call: Call) async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) { [call = call as Call] in
            try withLoop(.epoll) { loop in
                let slot = Handle(try loop.connection().0.slot)
                let core = Handle(loop.loop)
                _ = TestThread {
                    call.make(on: core.pointer, slot.pointer)
                    return 0
                }.join()
            }
        }
        let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(said.contains("broken invariant: ct_thread_is((loop)->owner)"), "\(call): \(said)")
    }
}
