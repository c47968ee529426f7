package latency

import (
	"math"
	"testing"
	"time"
)

func TestQuantilesAreWithinABucketOfTheTruth(t *testing.T) {
	var seen Histogram
	for n := 1; n <= 100_000; n++ {
		seen.Add(time.Duration(n) * time.Microsecond)
	}
	for _, share := range []float64{0.5, 0.95, 0.99} {
		want := share * 100 // ms
		if got := *seen.Quantile(share); math.Abs(got-want) > want/64 {
			t.Errorf("quantile %v: %v ms, not %v", share, got, want)
		}
	}
}

func TestEveryValueHasABucketWhoseMiddleIsNear(t *testing.T) {
	for shift := range 63 {
		for _, value := range []uint64{1 << shift, 1<<shift + 1, 1<<(shift+1) - 1} {
			got := middle(bucket(value))
			if math.Abs(got-float64(value)) > float64(value)/64 {
				t.Errorf("%d is taken for %v", value, got)
			}
		}
	}
}

func TestNothingMeasuredHasNoQuantile(t *testing.T) {
	var empty Histogram
	if empty.Quantile(0.5) != nil {
		t.Error("a quantile of nothing")
	}
}
