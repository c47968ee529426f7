// Package latency keeps durations in a fixed table of buckets, each at most 1/64 wide of its value,
// so that millions of samples cost no memory and no sorting.
package latency

import (
	"math/bits"
	"time"
)

const (
	fine    = 6 // 2^6 buckets for every doubling
	buckets = (65 - fine) << fine
)

type Histogram struct {
	counts [buckets]uint64
	total  uint64
}

func (h *Histogram) Add(value time.Duration) { h.AddMany(value, 1) }

func (h *Histogram) AddMany(value time.Duration, count int) {
	h.counts[bucket(uint64(max(0, value)))] += uint64(count)
	h.total += uint64(count)
}

func (h *Histogram) Count() uint64 { return h.total }

// Quantile in milliseconds, as the middle of its bucket; nil of an empty histogram.
func (h *Histogram) Quantile(share float64) *float64 {
	if h.total == 0 {
		return nil
	}
	rank := min(h.total-1, uint64(share*float64(h.total)))
	seen := uint64(0)
	for index, count := range h.counts {
		if seen += count; seen > rank {
			milliseconds := middle(index) / float64(time.Millisecond)
			return &milliseconds
		}
	}
	return nil
}

func bucket(value uint64) int {
	if value < 1<<fine {
		return int(value)
	}
	shift := bits.Len64(value) - fine - 1
	return (shift+1)<<fine + int(value>>shift) - 1<<fine
}

func middle(index int) float64 {
	if index < 1<<fine {
		return float64(index)
	}
	shift := index>>fine - 1
	low := uint64(1<<fine+index&(1<<fine-1)) << shift
	return float64(low) + float64(uint64(1)<<shift-1)/2
}
