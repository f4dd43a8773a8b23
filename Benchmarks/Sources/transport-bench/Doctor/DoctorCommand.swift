import ArgumentParser
import SwiftTransport

/// Says what this machine gives a server, and what to change for many connections.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Prints the engine chosen and why, the limits, and what to change for many connections.")

    @Option(help: "Connections the machine is to hold.")
    var connections = 1_000_000

    func validate() throws {
        guard (1...100_000_000).contains(connections) else {
            throw ValidationError("--connections must be between 1 and 100,000,000.")
        }
    }

    func run() async {
        let findings =
            await EngineCheck.findings() + DescriptorCheck.findings(connections: connections)
            + NetworkCheck.findings(connections: connections) + InterfaceCheck.findings
        print(SwiftTransport.Engine.report)
        print("\nFor \(connections) connections:")
        for finding in findings { print(finding.text) }
        let changes = findings.count { $0.advice != nil }
        print(changes == 0 ? "\nNothing to change." : "\nTo change: \(changes).")
    }
}
