import CTransport
import Glibc
import Testing

@Suite struct ReceiveTests {
    /// autoRead off: after a stop nothing more arrives, and after a start nothing is missing.
    @Test(arguments: Variant.all, Transport.allCases)
    func stoppingAndStartingLosesNothing(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            var expected: [UInt8] = []
            for round in 0..<20 {
                peer.write(pattern(100, seed: round))
                expected += pattern(100, seed: round)
                #expect(loop.reaches { endpoint.received.count == expected.count })
                ct_receive_stop(loop.loop, endpoint.slot)
                #expect(loop.reaches { !endpoint.slot.pointee.receive_armed })
                peer.write(pattern(50, seed: -round))
                expected += pattern(50, seed: -round)
                loop.settle()
                #expect(endpoint.received.count == expected.count - 50)
                #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
                #expect(loop.reaches { endpoint.received.count == expected.count })
            }
            #expect(endpoint.received == expected)
        }
    }

    /// Stopped and started again before the engine took notice: as if nothing had happened.
    @Test(arguments: Engine.available)
    func stoppingAndStartingInOneTurnChangesNothing(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection()
            for round in 1...20 {
                ct_receive_stop(loop.loop, endpoint.slot)
                #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
                peer.write(pattern(10))
                #expect(loop.reaches { endpoint.received.count == 10 * round })
            }
            ct_receive_stop(loop.loop, endpoint.slot)
            ct_receive_stop(loop.loop, endpoint.slot)
            #expect(loop.reaches { !endpoint.slot.pointee.receive_armed })
        }
    }

    /// Connections of both kinds on one loop share its receive memory and keep their own bytes. A kernel that reports what it
    /// received in another order than it filled the memory (incremental buffers, 6.12 to 6.15) would swap them.
    @Test(arguments: Variant.all)
    func bothKindsOfSocketKeepTheirBytes(variant: Variant) throws {
        try withLoop(variant) { loop in
            let pairs = try (0..<6).map { try loop.connection($0 % 2 == 0 ? .unix : .tcp) }
            loop.settle()
            for round in 1...50 {
                for (index, (_, peer)) in pairs.enumerated() { peer.write(Array(repeating: UInt8(index), count: 20)) }
                try #require(loop.reaches { pairs.allSatisfy { $0.0.received.count == 20 * round } })
            }
            for (index, (endpoint, _)) in pairs.enumerated() {
                #expect(endpoint.received.allSatisfy { $0 == UInt8(index) })
            }
        }
    }

    /// Peers that send without end share what the loop receives into, with memory to spare and without: nobody takes it all.
    @Test(arguments: Variant.all, [0, 4])
    func floodsGetTheirTurns(variant: Variant, budget: Int) throws {
        let size = 64 * 1024
        try withLoop(variant, options: ct_loop_options(chunkSize: size, chunksLent: 4, receiveBudget: budget * size)) {
            loop in
            let pairs = try (0..<4).map { _ in try loop.connection(.tcp) }
            let flood = pattern(4 * size)
            for _ in 0..<100 {
                for (_, peer) in pairs { while peer.write(flood) == flood.count {} }
                loop.turn()
            }
            let received = pairs.map { $0.0.received.count }
            #expect(received.max()! < 4 * received.min()!, "\(received)")
        }
    }

    /// End of stream while stopped is delivered when reading goes on, behind the bytes.
    @Test(arguments: Engine.available, Transport.allCases)
    func anEndWhileStoppedIsTold(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            loop.settle()
            ct_receive_stop(loop.loop, endpoint.slot)
            #expect(loop.reaches { !endpoint.slot.pointee.receive_armed })
            peer.write(pattern(100))
            peer.close()
            loop.settle()
            #expect(endpoint.happenings.isEmpty)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.happenings == [.received(bytes: 100), .endOfStream] })
        }
    }

    /// A peer that passes descriptors along cuts our reads short, although more bytes are there and no new readiness
    /// will be told: nothing may stay behind.
    @Test(arguments: Variant.all)
    func bytesBehindPassedDescriptorsArrive(variant: Variant) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(.socketPair, receiving: false)
            for i in 0..<5 {
                try #require(peer.writeWithDescriptor(pattern(100, seed: i)) == 100)
                peer.write(pattern(50, seed: i))
            }
            loop.settle()
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.received.count == 750 })
            #expect(endpoint.received == (0..<5).flatMap { pattern(100, seed: $0) + pattern(50, seed: $0) })
        }
    }

    /// So does urgent data: the read stops in front of the urgent byte, and what is behind it must still come.
    @Test(arguments: Variant.all)
    func bytesBehindUrgentDataArrive(variant: Variant) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            peer.write(pattern(100))
            peer.write([0xFF], flags: Int32(MSG_OOB))
            peer.write(pattern(100, seed: 1))
            loop.settle()
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.received.count == 200 })
            #expect(endpoint.received == pattern(100) + pattern(100, seed: 1))
            peer.write([1, 2, 3])
            #expect(loop.reaches { endpoint.received.count == 203 })
        }
    }
}

extension Peer {
    /// Passes a descriptor along with `bytes` (SCM_RIGHTS).
    fileprivate func writeWithDescriptor(_ bytes: [UInt8]) -> Int {
        let controlLength = MemoryLayout<cmsghdr>.size + 8
        let control = UnsafeMutableRawPointer.allocate(byteCount: controlLength, alignment: 8)
        defer { control.deallocate() }
        control.initializeMemory(as: UInt8.self, repeating: 0, count: controlLength)
        let header = control.assumingMemoryBound(to: cmsghdr.self)
        header.pointee.cmsg_len = MemoryLayout<cmsghdr>.size + 4
        header.pointee.cmsg_level = SOL_SOCKET
        header.pointee.cmsg_type = Int32(SCM_RIGHTS)
        (control + MemoryLayout<cmsghdr>.size).storeBytes(of: fd, as: Int32.self)
        var copy = bytes
        return copy.withUnsafeMutableBytes { memory in
            var vector = iovec(iov_base: memory.baseAddress, iov_len: memory.count)
            return withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                message.msg_control = control
                message.msg_controllen = controlLength
                return sendmsg(fd, &message, Int32(MSG_DONTWAIT))
            }
        }
    }
}
