#if DEBUG
    internal import Glibc
    internal import Synchronization

    /// Debug builds look once at each type of handler: a method for an event that its `interests` leave out is never called,
    /// which the compiler cannot know and the eye overlooks.
    enum UncalledMethods {
        private static let seen = Mutex<Set<ObjectIdentifier>>([])

        /// Looks at `type`, elsewhere and later, because a large program has many names. Any thread.
        static func look(at type: any ChannelHandler.Type) {
            guard type.interests != .all, seen.withLock({ $0.insert(ObjectIdentifier(type)).inserted }) else { return }
            // In a simulated network a task would be one of its own, in the first run of a program and in no other.
            if LoopDriver.current != nil { tell(of: type) } else { Task.detached { tell(of: type) } }
        }

        private static func tell(of type: any ChannelHandler.Type) {
            let methods = of(type)
            guard !methods.isEmpty else { return }
            let events = methods.map { ".\($0.event)" }
            Warnings.give(
                .uncalledMethod, at: String(reflecting: type),
                """
                \(type) implements \(methods.map(\.name).joined(separator: ", ")), which nobody will call: its interests leave out \
                \(Set(events).sorted().joined(separator: ", "))
                """)
        }

        /// A method of ``ChannelHandler`` that depends on an interest.
        struct Method {
            let event: String
            let interest: ChannelEvents
            let name: String
            /// As the demangler writes it.
            let signature: String

            init(_ event: String, _ interest: ChannelEvents, _ name: String, _ parameters: String) {
                self.event = event
                self.interest = interest
                self.name = name
                signature = "\(name.prefix { $0 != "(" })(\(parameters)) -> ()"
            }
        }

        private static let context = "SwiftTransport.ChannelContext"
        private static let promise = "__owned SwiftTransport.WritePromise"
        private static let methods = [
            Method("active", .active, "channelActive(_:)", context),
            Method("read", .read, "channelRead(_:_:)", "\(context), SwiftTransport.ReadBytes"),
            Method("readComplete", .readComplete, "channelReadComplete(_:)", context),
            Method("writabilityChanged", .writabilityChanged, "channelWritabilityChanged(_:)", context),
            Method("inputClosed", .inputClosed, "inputClosed(_:)", context),
            Method("error", .error, "errorCaught(_:_:)", "\(context), Swift.Error"),
            Method("userEvent", .userEvent, "userEvent(_:_:)", "\(context), Swift.Sendable"),
            Method("shutdown", .shutdown, "shutdownBegan(_:)", context),
            Method("inactive", .inactive, "channelInactive(_:)", context),
            Method(
                "write", .write, "write(_:_:promise:)",
                "_: \(context), _: SwiftTransport.ReadBytes, promise: \(promise)"),
            Method(
                "write", .write, "write(_:_:promise:) for files",
                "_: \(context), _: SwiftTransport.FileRegion, promise: \(promise)"),
            Method(
                "write", .write, "write(_:message:promise:)",
                "_: \(context), message: Swift.Sendable, promise: \(promise)"),
            Method("flush", .flush, "flush(_:)", context),
            Method(
                "shutdownOutput", .shutdownOutput, "shutdownOutput(_:promise:)", "_: \(context), promise: \(promise)"),
            Method("close", .close, "close(_:_:)", "\(context), SwiftTransport.CloseMode"),
        ]

        /// The methods that `type` or a class above it implements and its interests leave out.
        static func of(_ type: any ChannelHandler.Type) -> [Method] {
            guard let table = SymbolTable.ofProgram, let demangle else { return [] }
            let candidates = methods.filter { !type.interests.contains($0.interest) }
            var found: Set<String> = []
            for name in classNames(type, table) {
                let own = demangle(name)
                for function in table.names(beginningWith: name) where function.hasSuffix("F") {
                    let text = demangle(function)
                    for method in candidates
                    where text == "\(own).\(method.signature)" || text == "\(method.signature) in \(own)" {
                        found.insert(method.name)
                    }
                }
            }
            return candidates.filter { found.contains($0.name) }
        }

        /// The mangled names of `type` and the classes above it. `_mangledTypeName` has none that fits for private types.
        private static func classNames(_ type: any ChannelHandler.Type, _ table: SymbolTable) -> [String] {
            var names: [String] = []
            var next: UnsafeRawPointer? = unsafeBitCast(type as AnyObject.Type, to: UnsafeRawPointer.self)
            while let metadata = next {
                let descriptor = metadata.load(fromByteOffset: ClassMetadata.descriptor, as: UnsafeRawPointer?.self)
                if let descriptor, let name = table.name(at: descriptor), name.hasSuffix("Mn") {
                    names.append(String(name.dropLast(2)))
                }
                next = metadata.load(fromByteOffset: ClassMetadata.superclass, as: UnsafeRawPointer?.self)
            }
            return names
        }

        /// Where things are in the metadata of a class, which is part of Swift's ABI.
        private enum ClassMetadata {
            static let superclass = 8
            static let descriptor = 40
        }

        private typealias Demangle =
            @convention(c) (
                UnsafePointer<CChar>?, Int, UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<Int>?, UInt32
            ) -> UnsafeMutablePointer<CChar>?

        /// The runtime's own, if it is to be found.
        private static let demangle: (@Sendable (String) -> String)? = {
            guard let symbol = dlsym(nil, "swift_demangle") else { return nil }
            let function = unsafeBitCast(symbol, to: Demangle.self)
            return { name in
                guard let text = function(name, name.utf8.count, nil, nil, 0) else { return name }
                defer { free(text) }
                return String(cString: text)
            }
        }()
    }
#endif
