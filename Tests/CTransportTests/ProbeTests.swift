import CTransport
import Testing

@Suite struct ProbeTests {
    /// Says which engine is missing and why, so that a run without io_uring cannot pass for a full one.
    @Test(.enabled(if: ct_probe().pointee.uring, "io_uring is not to be had here: its tests did not run"))
    func bothEnginesAreTested() {
        #expect(Engine.available == Engine.allCases)
    }

    /// The engine asked for is the engine made.
    @Test(arguments: Engine.available)
    func aLoopHasTheEngineAskedFor(engine: Engine) throws {
        try withLoop(engine) { loop in
            #expect(ct_loop_engine(loop.loop) == engine.kind)
        }
    }

    /// Started loops are known on their own thread and nowhere else.
    @Test(arguments: Engine.available)
    func aContextBelongsToItsThread(engine: Engine) throws {
        try withLoop(engine) { loop in
            #expect(ct_current_context() == UnsafeMutableRawPointer(loop.loop))
            #expect(TestThread { ct_current_context() == nil }.join())
        }
        #expect(ct_current_context() == nil)
    }
}
