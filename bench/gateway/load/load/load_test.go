package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"berth.dev/bench/gateway/load/content"
	"berth.dev/bench/gateway/load/wire"
)

func body(t *testing.T, request []byte) []byte {
	t.Helper()
	head, whole, err := wire.ParseHead(request)
	if err != nil || !whole || head.Length != len(request)-head.Size {
		t.Fatalf("%v: %s", err, request)
	}
	return request[head.Size:]
}

func TestEveryTurnHoldsTheTurnsBeforeIt(t *testing.T) {
	given := options{path: "/v1/chat/completions", promptBytes: 1024, turns: 3, turnBytes: 256, key: "k"}
	turns := prompts(given, "h")
	for turn, made := range turns {
		made.write(42)
		var sent struct{ Messages []struct{ Content string } }
		if err := json.Unmarshal(body(t, made.bytes), &sent); err != nil {
			t.Fatal(err)
		}
		if len(sent.Messages) != 1+2*turn || len(sent.Messages[0].Content) != 1024 {
			t.Errorf("turn %d: %d messages, the first of %d bytes", turn, len(sent.Messages), len(sent.Messages[0].Content))
		}
		if !bytes.HasPrefix([]byte(sent.Messages[0].Content), []byte("conversation 000000000042 ")) {
			t.Errorf("%.40s", sent.Messages[0].Content)
		}
	}
}

// stream gives a generator one response in pieces of this size, and says what it made of it.
func stream(t *testing.T, text []byte, chunks, size int) (*generator, *user, bool) {
	t.Helper()
	now := time.Now()
	g := &generator{given: options{stream: true, chunks: chunks}, from: now.Add(-time.Hour), to: now.Add(time.Hour)}
	u := &user{}
	u.begin(now)
	ended := false
	for start := 0; start < len(text) && !ended; start += size {
		var err error
		ended, err = g.take(u, text[start:min(start+size, len(text))], now.Add(time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
	}
	return g, u, ended
}

func response(kind content.Kind, chunks int, end string) []byte {
	text := []byte("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
	add := func(data string) {
		text = append(text, []byte(hexLength(data)+"\r\n"+data+"\r\n")...)
	}
	for n := range chunks {
		add(kind.Event(n, chunks))
	}
	if end != "" {
		add(end)
	}
	return append(text, "0\r\n\r\n"...)
}

func hexLength(data string) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[len(data)>>8&15], digits[len(data)>>4&15], digits[len(data)&15]})
}

func TestAStreamIsCountedAndComparedHoweverItIsCut(t *testing.T) {
	kind := content.Kind{Chat: true, Model: "m"}
	text := response(kind, 5, content.Done)
	for _, size := range []int{1, 2, 3, 7, 100, 250, len(text)} {
		g, u, ended := stream(t, text, 5, size)
		if !ended || u.events != 5 || g.measured.events != 5 || g.verdict(u) != "" {
			t.Errorf("in pieces of %d: ended %v, %d events, %q", size, ended, u.events, g.verdict(u))
		}
		if u.sum != kind.StreamSum(5, false) {
			t.Errorf("in pieces of %d: other bytes", size)
		}
	}
}

func TestAStreamWithoutItsEndMarkerIsTruncated(t *testing.T) {
	g, u, _ := stream(t, response(content.Kind{Chat: true, Model: "m"}, 5, ""), 5, 100)
	if g.verdict(u) != "truncated" {
		t.Errorf("%q", g.verdict(u))
	}
}

func TestAnotherStatusIsAFailure(t *testing.T) {
	g, u, ended := stream(t, []byte("HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nno"), 5, 100)
	if !ended || g.verdict(u) != "status 503" {
		t.Errorf("ended %v, %q", ended, g.verdict(u))
	}
}

func TestArrivalsHaveTheRateAskedFor(t *testing.T) {
	g, err := newGenerator(nil, options{rate: 500, targets: []string{"127.0.0.1:1"}, turns: 1, promptBytes: 100}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	total := time.Duration(0)
	const count = 20_000
	for range count {
		total += g.pause()
	}
	if mean := total / count; mean < 1900*time.Microsecond || mean > 2100*time.Microsecond {
		t.Errorf("%v between two arrivals", mean)
	}
}
