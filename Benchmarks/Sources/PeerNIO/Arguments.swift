/// `--port P [--host H]`, as all peers take it.
struct Arguments {
    var host = "127.0.0.1"
    var port: Int

    init(_ arguments: [String]) throws {
        var values: [String: String] = [:]
        for index in stride(from: 1, to: arguments.count - 1, by: 2) {
            values[arguments[index]] = arguments[index + 1]
        }
        guard let port = values["--port"].flatMap(Int.init) else { throw UsageError() }
        self.port = port
        self.host = values["--host"] ?? host
    }
}

struct UsageError: Error, CustomStringConvertible {
    let description = "usage: peer-nio --port P [--host H]"
}
