// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nothing measured against (SwiftNIO) or measured with (HdrHistogram) becomes a
// dependency of those who use the library.
let package = Package(
    name: "transport-benchmarks",
    products: [
        .executable(name: "transport-bench", targets: ["transport-bench"]),
        .executable(name: "peer-c-epoll", targets: ["peer-c-epoll"]),
        .executable(name: "peer-c-uring", targets: ["peer-c-uring"]),
        .executable(name: "peer-nio", targets: ["peer-nio"]),
        .executable(name: "micro-nio", targets: ["micro-nio"]),
        .library(name: "allocation-count", type: .dynamic, targets: ["CAllocationCount"]),
    ],
    dependencies: [
        .package(name: "swift-transport", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", exact: "0.2.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
    ],
    targets: [
        .executableTarget(
            name: "transport-bench",
            dependencies: [
                "CLoad", "MicroKit",
                .product(name: "SwiftTransport", package: "swift-transport"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "Sources/transport-bench"),
        // The load generator: C, so that it costs as little as possible beside the server it measures.
        .target(name: "CLoad", path: "Sources/CLoad"),

        // What the library is measured against. Each is a process of its own and links nothing of the library.
        .executableTarget(name: "peer-c-epoll", path: "Sources/PeerEpoll"),
        .executableTarget(
            name: "peer-c-uring",
            dependencies: ["CBenchURing"],
            path: "Sources/PeerUring",
            linkerSettings: [.linkedLibrary("uring")]),
        .executableTarget(
            name: "peer-nio",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Sources/PeerNIO"),
        .executableTarget(
            name: "micro-nio",
            dependencies: [
                "MicroKit",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Sources/MicroNIO"),

        // What measures one thread from within, and what counts its allocations: preloaded, so that nothing else differs.
        .target(name: "MicroKit", path: "Sources/MicroKit"),
        .target(name: "CAllocationCount", path: "Sources/CAllocationCount", linkerSettings: [.linkedLibrary("dl")]),

        // Named apart from the root package's own liburing module: target names are unique in a package graph.
        .systemLibrary(
            name: "CBenchURing",
            path: "Sources/CBenchURing",
            pkgConfig: "liburing",
            providers: [.apt(["liburing-dev"])]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17
)
