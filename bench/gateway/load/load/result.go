package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"berth.dev/bench/gateway/load/latency"
)

// measured is what was seen. Rates count what arrived inside the window; latencies and the success
// rate count the requests that were meant to start inside it.
type measured struct {
	requests, ok, same int
	failures           map[string]int
	completed          int
	events, reads      int
	turns, stayed      int
	connects           int
	first, total, gaps latency.Histogram
	begun, ended       *syscall.Rusage
}

// result is what is printed. Times are milliseconds; absent where nothing was measured.
type result struct {
	Requests       int            `json:"requests"`
	OK             int            `json:"ok"`
	SuccessRate    *float64       `json:"success_rate"`
	Failures       map[string]int `json:"failures"`
	Seconds        float64        `json:"seconds"`
	RequestsPerSec float64        `json:"requests_per_second"`
	ChunksPerSec   float64        `json:"chunks_per_second"`
	ChunksPerRead  *float64       `json:"chunks_per_read"`
	TTFTp50        *float64       `json:"ttft_p50_ms"`
	TTFTp95        *float64       `json:"ttft_p95_ms"`
	TTFTp99        *float64       `json:"ttft_p99_ms"`
	TotalP50       *float64       `json:"total_p50_ms"`
	TotalP99       *float64       `json:"total_p99_ms"`
	GapP50         *float64       `json:"gap_p50_ms"`
	GapP99         *float64       `json:"gap_p99_ms"`
	Identical      *float64       `json:"identical_share"`
	Stayed         *float64       `json:"stayed_share"` // turns that went where the turn before had gone
	Connects       int            `json:"connects"`
	LoadCPU        float64        `json:"load_cpu_cores"`
}

func (m *measured) fail(cause string) {
	if m.failures == nil {
		m.failures = map[string]int{}
	}
	m.failures[cause]++
}

// atEdges reads our own CPU time when the window begins and when it ends.
func (m *measured) atEdges(now, from, to time.Time) {
	if m.begun == nil && !now.Before(from) {
		m.begun = usage()
		fmt.Fprintln(os.Stderr, "begin") // whoever measures the gateway reads its clocks now
	}
	if m.ended == nil && !now.Before(to) {
		m.ended = usage()
		fmt.Fprintln(os.Stderr, "end")
	}
}

func usage() *syscall.Rusage {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return &used
}

func (g *generator) result() *result {
	m := &g.measured
	now := time.Now()
	m.atEdges(now, g.from, g.to)
	g.abandon()
	seconds := g.to.Sub(g.from).Seconds()
	return &result{
		Requests: m.requests, OK: m.ok, SuccessRate: share(m.ok, m.requests), Failures: m.failures,
		Seconds:        seconds,
		RequestsPerSec: float64(m.completed) / seconds,
		ChunksPerSec:   float64(m.events) / seconds,
		ChunksPerRead:  share(m.events, m.reads),
		TTFTp50:        m.first.Quantile(0.50), TTFTp95: m.first.Quantile(0.95),
		TTFTp99:  m.first.Quantile(0.99),
		TotalP50: m.total.Quantile(0.50), TotalP99: m.total.Quantile(0.99),
		GapP50: m.gaps.Quantile(0.50), GapP99: m.gaps.Quantile(0.99),
		Identical: share(m.same, m.ok), Stayed: share(m.stayed, m.turns), Connects: m.connects,
		LoadCPU: (cpu(m.ended) - cpu(m.begun)).Seconds() / seconds,
	}
}

// abandon counts what had not ended when we stopped waiting, and what never found a connection.
func (g *generator) abandon() {
	for _, u := range g.users {
		if u.busy && g.inWindow(u.intended) {
			g.measured.requests++
			g.measured.fail("unfinished")
		}
	}
	for _, intended := range g.late {
		if g.inWindow(intended) {
			g.measured.requests++
			g.measured.fail("unsent")
		}
	}
}

func cpu(used *syscall.Rusage) time.Duration {
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	value := float64(part) / float64(whole)
	return &value
}
