module berth.dev/bench/gateway/load

go 1.24.0
