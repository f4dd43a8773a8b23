/// Every open channel and listener of a loop, so that shutting down can close them all. The slot's index is the key.
struct ChannelRegistry {
    private var endpoints: [EndpointReference<Endpoint>?] = []
    private(set) var count = 0

    mutating func insert(_ endpoint: Endpoint, at index: Int) {
        if index >= endpoints.count {
            endpoints.append(
                contentsOf: repeatElement(nil, count: max(64, index + 1 - endpoints.count, endpoints.count)))
        }
        endpoints[index] = EndpointReference(endpoint)
        count += 1
    }

    mutating func remove(at index: Int) {
        endpoints[index] = nil
        count -= 1
    }

    /// A snapshot: closing changes the registry.
    var all: [Endpoint] { endpoints.compactMap { $0?.endpoint } }
}
