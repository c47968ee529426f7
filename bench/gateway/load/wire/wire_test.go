package wire

import (
	"strings"
	"testing"
)

const chunked = "4\r\nWiki\r\n5;note=1\r\npedia\r\n0\r\n\r\n"

func head(t *testing.T, text string) Head {
	t.Helper()
	found, whole, err := ParseHead([]byte(text))
	if err != nil || !whole {
		t.Fatalf("%q: whole %v, error %v", text, whole, err)
	}
	return found
}

// collect feeds a body in pieces of this size.
func collect(t *testing.T, body *Body, text string, size int) string {
	t.Helper()
	var content strings.Builder
	for start := 0; start < len(text); start += size {
		rest := []byte(text[start:min(start+size, len(text))])
		for len(rest) > 0 && !body.Done() {
			part, next, err := body.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			content.Write(part)
			rest = next
		}
	}
	return content.String()
}

func TestAHeadIsNotReadBeforeItIsWhole(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
	for end := range len(text) {
		if _, whole, err := ParseHead([]byte(text[:end])); whole || err != nil {
			t.Fatalf("%d bytes: whole %v, error %v", end, whole, err)
		}
	}
	if found := head(t, text+"abc"); found.Length != 3 || found.Size != len(text) || found.Status() != 200 {
		t.Fatalf("%+v", found)
	}
}

func TestHeadersAreFoundWhateverTheirCase(t *testing.T) {
	found := head(t, "HTTP/1.1 200 OK\r\nX-Mock-Port:  9101 \r\nTRANSFER-ENCODING: Chunked\r\nconnection: close\r\n\r\n")
	if !found.Chunked || !found.Close || string(found.Field("x-mock-port")) != "9101" {
		t.Fatalf("%+v", found)
	}
}

func TestABodyInChunksIsTakenOutOfItsFramingHoweverItIsCut(t *testing.T) {
	for size := 1; size <= len(chunked); size++ {
		var body Body
		body.Begin(&Head{Chunked: true, Length: -1}, true)
		if got := collect(t, &body, chunked, size); got != "Wikipedia" || !body.Done() {
			t.Fatalf("in pieces of %d: %q, done %v", size, got, body.Done())
		}
	}
}

func TestABodyByLengthEndsWhereItSays(t *testing.T) {
	var body Body
	body.Begin(&Head{Length: 5}, true)
	if got := collect(t, &body, "12345HTTP", 2); got != "12345" || !body.Done() {
		t.Fatalf("%q, done %v", got, body.Done())
	}
}

func TestAResponseWithoutALengthEndsWithItsConnection(t *testing.T) {
	var body Body
	body.Begin(&Head{Length: -1}, true)
	if !body.EndedByClose() || body.Done() {
		t.Fatal("its end was known beforehand")
	}
	body.Begin(&Head{Length: -1}, false)
	if !body.Done() {
		t.Fatal("a request without a length has no body")
	}
}

func TestBrokenFramingIsAnError(t *testing.T) {
	for _, text := range []string{"zz\r\n", "\r\n", "3\r\nabcd\r\n"} {
		var body Body
		body.Begin(&Head{Chunked: true}, true)
		rest := []byte(text)
		var err error
		for len(rest) > 0 && err == nil {
			_, rest, err = body.Next(rest)
		}
		if err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
