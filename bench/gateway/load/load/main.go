// Load asks a gateway and measures what comes back: a fixed number of users who ask again as soon
// as they are answered (a closed loop), or requests at a rate that pays no heed to the answers (an
// open loop, where a late answer counts from when its request was meant to start). It retries
// nothing, knows every byte that must come, and prints one JSON object.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"berth.dev/bench/gateway/load/loop"
)

// maxDuration of a run that ends by its count of requests.
const maxDuration = time.Hour

// options are the command line's.
type options struct {
	targets     []string
	path        string
	model       string
	key         string
	concurrency int
	requests    int
	rate        float64
	even        bool
	seed        int64
	connections int
	stream      bool
	chunks      int
	ignoreEnd   bool
	promptBytes int
	distinct    int
	turns       int
	turnBytes   int
	ramp        time.Duration
	warmup      time.Duration
	duration    time.Duration
	drain       time.Duration
	timeout     time.Duration
}

func main() {
	given := parseOptions()
	result, err := run(given)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(result)
}

func parseOptions() options {
	var given options
	targets := flag.String("targets", "127.0.0.1:8080", "host:port, several by commas: in turn by connection")
	flag.StringVar(&given.path, "path", "/v1/chat/completions", "or /v1/completions")
	flag.StringVar(&given.model, "model", "bench-model", "as the mock was told")
	flag.StringVar(&given.key, "key", "", "sent as Authorization: Bearer KEY")
	flag.IntVar(&given.concurrency, "concurrency", 32, "users of a closed loop")
	flag.IntVar(&given.requests, "requests", 0, "a closed loop ends after so many; 0: after --duration")
	flag.Float64Var(&given.rate, "rate", 0, "requests a second of an open loop; 0: closed")
	arrivals := flag.String("arrivals", "poisson", "of an open loop: poisson or even")
	flag.Int64Var(&given.seed, "seed", 1, "of the arrivals")
	flag.IntVar(&given.connections, "connections", 4096, "at most, of an open loop")
	flag.BoolVar(&given.stream, "stream", false, "ask for a stream")
	flag.IntVar(&given.chunks, "chunks", 128, "events of a stream, asked for with max_tokens")
	flag.BoolVar(&given.ignoreEnd, "ignore-eos", false, "a real engine then gives all of --chunks")
	flag.IntVar(&given.promptBytes, "prompt-bytes", 1024, "of the first message")
	flag.IntVar(&given.distinct, "distinct", 1000, "different prompts; 0: every conversation is new")
	flag.IntVar(&given.turns, "turns", 1, "of a conversation, each with all that was said before")
	flag.IntVar(&given.turnBytes, "turn-bytes", 256, "that a turn adds, as question and as answer")
	flag.DurationVar(&given.ramp, "ramp", 0, "over which the users of a closed loop begin; longer than the warm-up: measured too")
	flag.DurationVar(&given.warmup, "warmup", time.Second, "not measured")
	flag.DurationVar(&given.duration, "duration", 5*time.Second, "measured")
	flag.DurationVar(&given.drain, "drain", 15*time.Second, "for what is under way at the end")
	flag.DurationVar(&given.timeout, "timeout", 30*time.Second, "of one request")
	flag.Parse()
	given.targets = strings.Split(*targets, ",")
	given.even = *arrivals == "even"
	if !given.stream {
		given.chunks = 0
	}
	if given.requests > 0 {
		given.warmup, given.duration = 0, maxDuration
	}
	return given
}

func run(given options) (*result, error) {
	poller, err := loop.New()
	if err != nil {
		return nil, err
	}
	generator, err := newGenerator(poller, given, time.Now())
	if err != nil {
		return nil, err
	}
	for !generator.finished(time.Now()) {
		if err := generator.turn(); err != nil {
			return nil, err
		}
	}
	return generator.result(), nil
}
