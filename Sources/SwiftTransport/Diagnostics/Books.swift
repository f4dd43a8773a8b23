internal import CTransport

/// What the library keeps count of, counted anew: for tests.
package enum Books {
    /// What is wrong with the count of a channel's pending bytes; `nil` when it agrees with what is in the queue and what the kernel
    /// still reads of it. The loop's thread only.
    package static func fault(of channel: Channel) -> String? {
        channel.eventLoop.assertOnLoop()
        let queued = channel.own.queue?.weight ?? 0
        let held = channel.own.zeroCopy?.heldBytes ?? 0
        let pending = channel.levels.pending
        return pending == queued + held
            ? nil : "\(pending) bytes pending, \(queued) queued and \(held) held for the kernel"
    }

    /// What a channel counts as pending, without what is on its way to the loop. The loop's thread only.
    package static func queuedBytes(of channel: Channel) -> Int { channel.levels.pending }

    /// Bytes of the heap in use by now; 0 where that is not known.
    package static var heapBytes: Int { Int(ct_memory_in_use()) }
}

extension OutboundQueue {
    /// What its entries count for.
    fileprivate var weight: Int {
        var sum = 0
        for index in 0..<count {
            let entry = self[index]
            sum += WaterMark.entryOverhead.bytes + entry.weight
            if index == 0, !entry.isFile { sum -= headOffset }
        }
        return sum
    }
}
