// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // A type of ours hands out a RawSpan of bytes it only borrows; not an unsafe flag.
    .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
    name: "swift-transport",
    products: [
        .library(name: "SwiftTransport", targets: ["SwiftTransport"]),
        .library(name: "TransportTesting", targets: ["TransportTesting"]),
    ],
    traits: [
        .trait(
            name: "Jemalloc",
            description: "Memory from jemalloc, an arena per loop. Off: malloc, as sanitizers need."
        ),
        .default(enabledTraits: ["Jemalloc"]),
    ],
    targets: [
        .systemLibrary(name: "CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CJemalloc", pkgConfig: "jemalloc", providers: [.apt(["libjemalloc-dev"])]),
        .target(
            name: "CTransport",
            dependencies: [
                "CLiburing",
                .target(name: "CJemalloc", condition: .when(traits: ["Jemalloc"])),
            ],
            cSettings: [
                .define("_GNU_SOURCE"),
                .define("CT_JEMALLOC", .when(traits: ["Jemalloc"])),
            ]
        ),
        .target(name: "SwiftTransport", dependencies: ["CTransport"], swiftSettings: swiftSettings),
        .target(name: "CSimulation", dependencies: ["CTransport", "CLiburing"], cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "TransportTesting", dependencies: ["SwiftTransport", "CTransport", "CSimulation"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "TransportTestingTests", dependencies: ["TransportTesting"], swiftSettings: swiftSettings),
        .testTarget(
            name: "CTransportTests",
            dependencies: ["CTransport", "CKernelFaults"],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "SwiftTransportTests",
            dependencies: ["SwiftTransport", "CTransport", "CReferenceCount", "CKernelFaults"],
            swiftSettings: swiftSettings
        ),
        // Services at random and everything that can happen to them, on this machine and in simulated networks. Compiled as a
        // service would be.
        .target(
            name: "TortureKit", dependencies: ["SwiftTransport", "TransportTesting"], path: "Tests/Torture/Kit",
            swiftSettings: [.swiftLanguageMode(.v6)]),
        .executableTarget(
            name: "torture", dependencies: ["TortureKit"], path: "Tests/Torture/Main",
            swiftSettings: [.swiftLanguageMode(.v6)]),
        // What goes wrong in networks, on this kernel, in network namespaces. Compiled as a service would be.
        .executableTarget(
            name: "namespaces", dependencies: ["SwiftTransport"], path: "Tests/Namespaces",
            swiftSettings: [.swiftLanguageMode(.v6)]),
        // Only tests link these: they stand between the program and the kernel, and the Swift runtime.
        .target(name: "CKernelFaults", path: "Tests/CKernelFaults", cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "CReferenceCount", path: "Tests/CReferenceCount", linkerSettings: [.linkedLibrary("dl")]),
    ]
)
