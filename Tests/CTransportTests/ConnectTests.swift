import CTransport
import Glibc
import Testing

@Suite struct ConnectTests {
    /// A connect ends with one event; the connection then carries bytes both ways.
    @Test(arguments: Engine.available, Transport.withListener)
    func aConnectEndsWithOneEvent(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let listener = try Listener(transport)
            let endpoint = try loop.open(listener.socket())
            #expect(loop.connect(endpoint, to: listener.address) == 0)
            #expect(endpoint.slot.pointee.connects_in_flight == 1)
            #expect(loop.reaches { endpoint.happenings == [.connected] })
            #expect(endpoint.slot.pointee.connects_in_flight == 0)
            let peer = Peer(fd: accept(listener.fd, nil, nil))
            close(listener.fd)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            peer.write([1, 2])
            #expect(endpoint.send([3, 4], on: loop) == 0)
            #expect(loop.reaches { endpoint.received == [1, 2] && peer.read() == [3, 4] })
        }
    }

    /// Refused is an event, not a failed call, on every engine and for every family.
    @Test(arguments: Engine.available, Transport.withListener)
    func beingRefusedIsAnEvent(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let listener = try Listener(transport, listens: false)
            let endpoint = try loop.open(listener.socket())
            #expect(loop.connect(endpoint, to: listener.address) == 0)
            #expect(loop.reaches { !endpoint.happenings.isEmpty })
            loop.settle()
            #expect(endpoint.happenings == [.connectFailed(ECONNREFUSED)])
            close(listener.fd)
        }
    }

    /// Many at once, more than the engine keeps addresses for.
    @Test(arguments: Engine.available)
    func manyConnectAtOnce(engine: Engine) throws {
        try withLoop(engine) { loop in
            let listener = try Listener()
            let server = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, server.slot) == 0)
            let ends = try (0..<200).map { _ in try loop.open(listener.socket()) }
            for end in ends { #expect(loop.connect(end, to: listener.address) == 0) }
            #expect(
                loop.reaches {
                    server.acceptedDescriptors.count == 200 && ends.allSatisfy { $0.happenings == [.connected] }
                })
            for fd in server.acceptedDescriptors { close(fd) }
        }
    }

    /// I11: a connect nobody answers is ended by closing the slot, with -ECANCELED and then CLOSED.
    @Test(arguments: Engine.available)
    func closingEndsAConnect(engine: Engine) throws {
        try withLoop(engine) { loop in
            // A backlog that is full drops what comes: the handshake gets no answer.
            let listener = try Listener(backlog: 0)
            let first = try listener.connectPeer()
            var pending: [Endpoint] = []
            for _ in 0..<3 {
                let endpoint = try loop.open(listener.socket())
                #expect(loop.connect(endpoint, to: listener.address) == 0)
                pending.append(endpoint)
            }
            loop.settle()
            let waiting = pending.filter { $0.happenings.isEmpty }
            #expect(!waiting.isEmpty)
            for endpoint in waiting {
                #expect(endpoint.slot.pointee.connects_in_flight == 1)
                loop.close(endpoint)
            }
            #expect(loop.reaches { waiting.allSatisfy { $0.isClosed } })
            for endpoint in waiting { #expect(endpoint.happenings == [.connectFailed(ECANCELED), .closed]) }
            first.close()
            close(listener.fd)
        }
    }
}
