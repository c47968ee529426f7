module berth.dev/dev/go/pause

go 1.24.0
