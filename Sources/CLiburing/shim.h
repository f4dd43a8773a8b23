// Exists so that SwiftPM links liburing. Its header stays out of what Swift sees: only the C core includes it.
