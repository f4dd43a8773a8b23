import CTransport
import Testing

@Suite struct SlotStateTests {
    private static let states = (0..<UInt8(CT_SLOT_STATES)).map { ct_slot_state(rawValue: $0) }

    private static func may(_ from: ct_slot_state, become to: ct_slot_state) -> Bool {
        switch (from, to) {
        case (CT_SLOT_FREE, CT_SLOT_OPEN), (CT_SLOT_OPEN, CT_SLOT_CLOSING), (CT_SLOT_CLOSING, CT_SLOT_TO_CLOSE),
            (CT_SLOT_TO_CLOSE, CT_SLOT_FREE), (CT_SLOT_TO_CLOSE, CT_SLOT_NOTIFYING),
            (CT_SLOT_NOTIFYING, CT_SLOT_CLOSED), (CT_SLOT_CLOSED, CT_SLOT_FREE):
            true
        default: false
        }
    }

    /// Every pair of states, those that do not exist too.
    @Test func onlyTheDrawnTransitionsAreAllowed() {
        #expect(Self.states.count == 6)
        for from in Self.states {
            for to in Self.states {
                let allowed = Self.may(from, become: to)
                #expect(ct_slot_may_become(from, to) == allowed, "\(from.rawValue) to \(to.rawValue)")
            }
        }
        let unknown = ct_slot_state(rawValue: UInt8(CT_SLOT_STATES))
        for state in Self.states { #expect(!ct_slot_may_become(state, unknown) && !ct_slot_may_become(unknown, state)) }
    }

    /// What is not allowed stops the program, in every build.
    @Test(arguments: states.dropFirst().map(\.rawValue))
    func aForbiddenTransitionStopsTheProgram(state: UInt8) async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) { [state = state as UInt8] in
            try withLoop(.epoll) { loop in
                let (endpoint, _) = try loop.connection()
                loop.close(endpoint)
                _ = loop.reaches { endpoint.isClosed }
                endpoint.slot.pointee.state = ct_slot_state(rawValue: state)
                _ = try loop.connection()
            }
        }
        let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(said.contains("broken invariant: ct_slot_may_become"), "\(said)")
    }
}
