// Package wire reads as much of HTTP/1.1 as a mock engine and a load generator need from peers that
// keep to it: heads, bodies by length, bodies in chunks.
package wire

import (
	"bytes"
	"errors"
	"strconv"
)

var (
	errHead  = errors.New("not an HTTP/1.1 head")
	errChunk = errors.New("not a chunked body")

	headEnd = []byte("\r\n\r\n")
)

// Head is what the first line and the headers say of a message.
type Head struct {
	First   []byte // "POST /v1/completions HTTP/1.1" or "HTTP/1.1 200 OK"
	Length  int    // of the body in bytes; -1 where no header says
	Chunked bool
	Close   bool
	Fields  []byte // all header lines, for Field
	Size    int    // of the head itself, in bytes
}

// ParseHead returns false while the head is not all there.
func ParseHead(data []byte) (Head, bool, error) {
	end := bytes.Index(data, headEnd)
	if end < 0 {
		return Head{}, false, nil
	}
	first, fields, _ := bytes.Cut(data[:end+2], []byte("\r\n"))
	head := Head{First: first, Length: -1, Fields: fields, Size: end + len(headEnd)}
	for rest := fields; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if err := head.read(line); err != nil {
			return head, false, err
		}
	}
	return head, true, nil
}

func (h *Head) read(line []byte) error {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found {
		return errHead
	}
	value = bytes.TrimSpace(value)
	switch len(name) {
	case len("content-length"):
		if bytes.EqualFold(name, []byte("content-length")) {
			length, err := strconv.Atoi(string(value))
			h.Length = length
			return err
		}
	case len("transfer-encoding"):
		if bytes.EqualFold(name, []byte("transfer-encoding")) {
			h.Chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	case len("connection"):
		if bytes.EqualFold(name, []byte("connection")) {
			h.Close = bytes.EqualFold(value, []byte("close"))
		}
	}
	return nil
}

// Field returns a header's value by its lower-case name, or nil.
func (h *Head) Field(name string) []byte {
	for rest := h.Fields; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if found, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(found, []byte(name)) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// Status of a response's head: 200 and so on, or 0.
func (h *Head) Status() int {
	parts := bytes.SplitN(h.First, []byte(" "), 3)
	if len(parts) < 2 {
		return 0
	}
	status, _ := strconv.Atoi(string(parts[1]))
	return status
}

// Body takes a body out of its framing as it comes.
type Body struct {
	left    int // bytes of this chunk or body that are still to come
	state   state
	line    []byte // of a chunk's size or a trailer, as far as it has come
	chunked bool
}

type state byte

const (
	inData  state = iota
	inSize        // the line that says a chunk's size
	inClose       // the line end after a chunk's data
	inTrailer
	ended
	untilClose
)

// Begin prepares for the body that a head has announced. A response that announces none ends with
// its connection.
func (b *Body) Begin(head *Head, response bool) {
	*b = Body{line: b.line[:0], chunked: head.Chunked}
	switch {
	case head.Chunked:
		b.state = inSize
	case head.Length > 0:
		b.left = head.Length
	case head.Length < 0 && response:
		b.state = untilClose
	default:
		b.state = ended
	}
}

func (b *Body) Done() bool { return b.state == ended }

// EndedByClose says whether the end of the connection is the end of the body.
func (b *Body) EndedByClose() bool { return b.state == untilClose }

// Next takes one run of content off the front of data: (content, rest). Either may be empty.
func (b *Body) Next(data []byte) ([]byte, []byte, error) {
	switch b.state {
	case untilClose:
		return data, nil, nil
	case inData:
		return b.content(data)
	case inSize, inClose, inTrailer:
		rest, err := b.framing(data)
		return nil, rest, err
	default:
		return nil, data, nil
	}
}

func (b *Body) content(data []byte) ([]byte, []byte, error) {
	count := min(b.left, len(data))
	b.left -= count
	if b.left == 0 {
		b.state = ended
		if b.chunked {
			b.state = inClose
		}
	}
	return data[:count], data[count:], nil
}

func (b *Body) framing(data []byte) ([]byte, error) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		b.line = append(b.line, data...)
		return nil, nil
	}
	line := data[:end+1]
	if len(b.line) > 0 {
		b.line = append(b.line, line...)
		line = b.line
	}
	err := b.lineEnded(bytes.TrimRight(line, "\r\n"))
	b.line = b.line[:0]
	return data[end+1:], err
}

func (b *Body) lineEnded(line []byte) error {
	switch {
	case b.state == inClose:
		if len(line) > 0 {
			return errChunk
		}
		b.state = inSize
	case b.state == inTrailer:
		if len(line) == 0 {
			b.state = ended
		}
	default:
		return b.sized(line)
	}
	return nil
}

func (b *Body) sized(line []byte) error {
	size, _, _ := bytes.Cut(line, []byte(";"))
	count, ok := hex(bytes.TrimSpace(size))
	if !ok {
		return errChunk
	}
	b.left, b.state = count, inData
	if count == 0 {
		b.state = inTrailer
	}
	return nil
}

func hex(digits []byte) (int, bool) {
	value := 0
	for _, digit := range digits {
		switch {
		case digit >= '0' && digit <= '9':
			value = value<<4 | int(digit-'0')
		case digit|0x20 >= 'a' && digit|0x20 <= 'f':
			value = value<<4 | int(digit|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return value, len(digits) > 0
}
