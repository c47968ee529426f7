package main

import (
	"math/rand"
	"strings"
	"testing"
	"time"

	"berth.dev/bench/gateway/load/wire"
)

func TestARequestIsReadWithSpacesAndWithout(t *testing.T) {
	head := wire.Head{First: []byte("POST /v1/chat/completions?a=1 HTTP/1.1")}
	for _, body := range []string{
		`{"stream":true,"max_tokens":7,"stream_options":{"include_usage":true}}`,
		`{"stream": true, "max_completion_tokens": 7, "stream_options": {"include_usage": true}}`,
	} {
		found := parse(&head, []byte(body), pace{chunks: 128})
		if !found.stream || !found.usage || found.chunks != 7 || found.address != "/v1/chat/completions" {
			t.Errorf("%s: %+v", body, found)
		}
	}
}

func TestTheFieldsOfALongPromptAreFoundOnEitherSideOfIt(t *testing.T) {
	long := strings.Repeat("word ", 50_000)
	for _, body := range []string{
		`{"messages":[{"content":"` + long + `"}],"model":"m","max_tokens":7,"stream":true}`,
		`{"model":"m","max_tokens":7,"stream":true,"messages":[{"content":"` + long + `"}]}`,
	} {
		if found := parse(&wire.Head{}, []byte(body), pace{}); !found.stream || found.chunks != 7 {
			t.Errorf("%+v", found)
		}
	}
}

func TestWhatARequestDoesNotSayIsTheMocksOwn(t *testing.T) {
	defaults := pace{chunks: 128, gap: time.Second, prefill: time.Minute}
	found := parse(&wire.Head{}, []byte(`{"stream":false,"max_tokens":null}`), defaults)
	if found.stream || found.pace != defaults {
		t.Errorf("%+v", found)
	}
}

func TestAHeaderSetsThePaceOfOneRequest(t *testing.T) {
	head := wire.Head{Fields: []byte("X-Mock-Gap-Us: 2500\r\nX-Mock-Chunks: 9\r\n")}
	found := parse(&head, nil, pace{chunks: 128})
	if found.gap != 2500*time.Microsecond || found.chunks != 9 {
		t.Errorf("%+v", found)
	}
}

func TestTimersGiveTheEarliestFirst(t *testing.T) {
	var waiting timers
	for range 1000 {
		waiting.push(&conn{due: time.Unix(0, rand.Int63())})
	}
	for last := (time.Time{}); len(waiting) > 0; {
		next := waiting.pop().due
		if next.Before(last) {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
}
