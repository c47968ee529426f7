module berth.dev/dev/go/coredns

go 1.24.0

// On its own: its plugins pull in a wide dependency tree.
tool github.com/coredns/coredns

require github.com/coredns/coredns v1.13.1
