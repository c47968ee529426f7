// Mock is an engine that costs next to nothing: vLLM's addresses and its bytes, at a pace that is
// asked for. One thread serves all ports, so that it fits beside the load generator on one core.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"berth.dev/bench/gateway/load/loop"
)

func main() {
	ports := flag.String("ports", "9101,9102,9103,9104", "one endpoint each, on 127.0.0.1")
	model := flag.String("model", "bench-model", "the model's name")
	chunks := flag.Int("chunks", 128, "events of a stream, where the request has no max_tokens")
	gap := flag.Duration("gap", 0, "between two events; 0: as fast as possible")
	prefill := flag.Duration("prefill", 0, "before the first byte")
	flag.Parse()
	pace := pace{chunks: *chunks, gap: *gap, prefill: *prefill}
	if err := run(*ports, *model, pace); err != nil {
		fmt.Fprintln(os.Stderr, "mock:", err)
		os.Exit(1)
	}
}

func run(ports, model string, pace pace) error {
	poller, err := loop.New()
	if err != nil {
		return err
	}
	served := newServer(poller, model, pace)
	for _, text := range strings.Split(ports, ",") {
		port, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := served.listen(port); err != nil {
			return err
		}
	}
	for {
		if err := served.turn(time.Now()); err != nil {
			return err
		}
	}
}
