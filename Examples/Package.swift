// swift-tools-version: 6.2
import PackageDescription

// A package of its own: it uses the library exactly as your service would.
let package = Package(
    name: "transport-examples",
    dependencies: [
        .package(name: "swift-transport", path: "..")
    ],
    targets: [
        .executableTarget(
            name: "EchoServer",
            dependencies: ["Support", .product(name: "SwiftTransport", package: "swift-transport")]),
        .executableTarget(
            name: "EchoClient",
            dependencies: ["Support", .product(name: "SwiftTransport", package: "swift-transport")]),
        .executableTarget(
            name: "Hub",
            dependencies: ["Support", .product(name: "SwiftTransport", package: "swift-transport")]),
        .executableTarget(
            name: "Proxy",
            dependencies: ["Support", .product(name: "SwiftTransport", package: "swift-transport")]),
        .executableTarget(
            name: "FramedProtocol",
            dependencies: ["Support", .product(name: "SwiftTransport", package: "swift-transport")]),
        // A service, and how it is tested through a partition.
        .target(name: "Subscriber", dependencies: [.product(name: "SwiftTransport", package: "swift-transport")]),
        .testTarget(
            name: "SubscriberTests",
            dependencies: [
                "Subscriber", .product(name: "SwiftTransport", package: "swift-transport"),
                .product(name: "TransportTesting", package: "swift-transport"),
            ]),
        .target(name: "Support"),
    ],
    swiftLanguageModes: [.v6]
)
