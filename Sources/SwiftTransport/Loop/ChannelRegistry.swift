/// Every open channel and listener of a loop, so that shutting down can close them all. The slot's index is the key.
struct ChannelRegistry {
    private var endpoints: [EndpointReference<AnyObject>?] = []
    private(set) var count = 0

    mutating func insert(_ endpoint: any Endpoint, at index: Int) {
        if index >= endpoints.count {
            endpoints.append(
                contentsOf: repeatElement(nil, count: max(64, index + 1 - endpoints.count, endpoints.count)))
        }
        endpoints[index] = EndpointReference<AnyObject>(endpoint)
        count += 1
    }

    mutating func remove(at index: Int) {
        endpoints[index] = nil
        count -= 1
    }

    /// A snapshot: closing changes the registry.
    var all: [any Endpoint] { endpoints.compactMap { $0?.either } }
}
