internal import CTransport
internal import Glibc

// The way in: from an event of the core to the first handler.
extension Channel {
    @inline(__always)
    func received(_ event: ct_event) {
        if event.result > 0, let data = event.data, let chunk = event.chunk {
            // While closing, bytes are dropped: what the peer still sends has no reader any more.
            if state == .active {
                if !reading.isListed {
                    reading.isListed = true
                    eventLoop.readers.append(self)
                }
                let bytes = ReadBytes(start: UnsafeRawPointer(data), count: Int(event.result), chunk: chunk)
                if let first = ChannelContext.find(.read, from: firstContext) {
                    first._withUnsafeGuaranteedRef { $0.handler.channelRead($0, bytes) }
                }
            }
        } else if event.result <= 0, event.result != -EAGAIN {
            endOfInput(event.result)
        }
        if event.flags & UInt16(CT_EVENT_CHUNK_DONE) != 0, let chunk = event.chunk { BufferStorage.finish(chunk) }
    }

    /// No more bytes for this channel in this turn.
    func completeRead() {
        // The end of input may have told it already, and left the channel on the turn's list.
        guard reading.isListed else { return }
        reading.isListed = false
        guard state == .active, let first = ChannelContext.find(.readComplete, from: firstContext) else { return }
        first._withUnsafeGuaranteedRef { $0.handler.channelReadComplete($0) }
    }

    private func endOfInput(_ result: Int32) {
        guard !reading.isEnded else { return }
        reading.isEnded = true
        if reading.isListed, state == .active {
            // The end stays behind the data, and behind its completion.
            completeRead()
        }
        if result < 0 {
            fail(TransportError(call: .receive, errno: -result))
            return
        }
        switch state {
        case .active:
            if let first = ChannelContext.find(.inputClosed, from: firstContext) {
                first._withUnsafeGuaranteedRef { $0.handler.inputClosed($0) }
            }
            if state == .active, !configuration.allowsHalfClosure || writing.isShutDown { closeNow(.graceful) }
        case .draining: continueDraining()
        case .opening, .closing, .closed: break
        }
    }

    /// Whether bytes are received as they come. Default true.
    ///
    /// Switched off, what is already on its way may still be delivered (what the kernel had received in this turn); the
    /// end of stream stays behind it. While it is off the peer's close is not noticed. Any thread.
    public func setAutomaticReading(_ automatic: Bool) {
        onLoop { self.changeReading(automatic) }
    }

    private func changeReading(_ automatic: Bool) {
        guard reading.isAutomatic != automatic else { return }
        reading.isAutomatic = automatic
        guard state == .active, !reading.isEnded, let slot else { return }
        if automatic {
            if ct_receive_start(eventLoop.core, slot) < 0 { fail(TransportError(call: .receive, errno: ENOMEM)) }
        } else {
            ct_receive_stop(eventLoop.core, slot)
        }
    }
}
