package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"berth.dev/bench/gateway/load/wire"
)

// pace is how an answer is given out.
type pace struct {
	chunks  int
	gap     time.Duration
	prefill time.Duration
}

// asked is what of a request decides its answer.
type asked struct {
	address string // the path, without its query
	query   string
	stream  bool
	usage   bool
	pace
}

// edge is where a body's fields are looked for, at its beginning and at its end: reading a long prompt
// would be the mock's own cost, and clients and gateways write the prompt as one field among others.
const edge = 2 << 10

// parse looks for a few fields by name; the prompts that the load generator makes hold none of them.
func parse(head *wire.Head, body []byte, defaults pace) asked {
	_, path, _ := bytes.Cut(head.First, []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	address, query, _ := strings.Cut(string(path), "?")
	found := asked{
		address: address, query: query,
		stream: isTrue(field(body, `"stream"`)),
		usage:  isTrue(field(body, `"include_usage"`)),
		pace:   defaults,
	}
	for _, name := range []string{`"max_tokens"`, `"max_completion_tokens"`} {
		if count, ok := number(field(body, name)); ok && count > 0 {
			found.chunks = count
		}
	}
	if count, ok := number(head.Field("x-mock-chunks")); ok && count > 0 {
		found.chunks = count
	}
	if gap, ok := number(head.Field("x-mock-gap-us")); ok {
		found.gap = time.Duration(gap) * time.Microsecond
	}
	if prefill, ok := number(head.Field("x-mock-prefill-us")); ok {
		found.prefill = time.Duration(prefill) * time.Microsecond
	}
	return found
}

// field is what follows a name and its colon, with nothing before it.
func field(body []byte, name string) []byte {
	if len(body) > 2*edge {
		if found := field(body[:edge], name); found != nil {
			return found
		}
		body = body[len(body)-edge:]
	}
	at := bytes.Index(body, []byte(name))
	if at < 0 {
		return nil
	}
	rest := bytes.TrimLeft(body[at+len(name):], " \t\r\n")
	if len(rest) == 0 || rest[0] != ':' {
		return nil
	}
	return bytes.TrimLeft(rest[1:], " \t\r\n")
}

func isTrue(value []byte) bool { return bytes.HasPrefix(value, []byte("true")) }

func number(value []byte) (int, bool) {
	end := 0
	for end < len(value) && value[end] >= '0' && value[end] <= '9' {
		end++
	}
	count, err := strconv.Atoi(string(value[:end]))
	return count, err == nil
}
