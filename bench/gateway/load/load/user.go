package main

import (
	"bytes"
	"fmt"
	"syscall"
	"time"

	"berth.dev/bench/gateway/load/content"
	"berth.dev/bench/gateway/load/loop"
	"berth.dev/bench/gateway/load/wire"
)

const eventEnd = "\n\n"

// user is one connection and the request that is under way on it.
type user struct {
	fd           int // -1: not connected
	target       int // index
	connecting   bool
	busy         bool
	conversation int
	turn         int
	endpoint     string // that answered the turn before

	out      []byte // of the request, what the kernel would not take yet
	intended time.Time
	head     []byte // of the response, as far as it has come
	inBody   bool
	closes   bool // after this response
	status   int
	body     wire.Body
	sum      uint32
	events   int
	newline  bool // the content so far ends in one
	tail     []byte
	last     time.Time // event
	first    time.Duration
}

// begin resets what belongs to a request.
func (u *user) begin(intended time.Time) {
	u.busy, u.intended, u.inBody, u.head = true, intended, false, u.head[:0]
	u.sum, u.events, u.newline, u.tail, u.first = 0, 0, false, u.tail[:0], 0
}

// take reads a response as it comes; true when it has ended.
func (g *generator) take(u *user, data []byte, now time.Time) (bool, error) {
	if !u.inBody {
		rest, whole, err := g.takeHead(u, data)
		if err != nil || !whole {
			return false, err
		}
		data = rest
	}
	for len(data) > 0 && !u.body.Done() {
		var part []byte
		var err error
		if part, data, err = u.body.Next(data); err != nil {
			return false, err
		}
		if len(part) > 0 {
			g.takeContent(u, part, now)
		}
	}
	if u.body.Done() && len(data) > 0 {
		return false, fmt.Errorf("%d bytes after the end", len(data))
	}
	return u.body.Done(), nil
}

func (g *generator) takeHead(u *user, data []byte) ([]byte, bool, error) {
	whole := data
	if len(u.head) > 0 {
		u.head = append(u.head, data...)
		whole = u.head
	}
	head, ready, err := wire.ParseHead(whole)
	if err != nil {
		return nil, false, err
	}
	if !ready {
		if len(u.head) == 0 {
			u.head = append(u.head, data...)
		}
		return nil, false, nil
	}
	u.status, u.closes, u.inBody = head.Status(), head.Close, true
	u.body.Begin(&head, true)
	g.noteEndpoint(u, string(head.Field("x-mock-port")))
	return whole[head.Size:], true, nil
}

// noteEndpoint counts the turns that went where the turn before had gone.
func (g *generator) noteEndpoint(u *user, endpoint string) {
	if u.turn > 0 && endpoint != "" && u.endpoint != "" {
		g.measured.turns++
		if endpoint == u.endpoint {
			g.measured.stayed++
		}
	}
	u.endpoint = endpoint
}

func (g *generator) takeContent(u *user, part []byte, now time.Time) {
	u.sum = content.Sum(u.sum, part)
	if !g.given.stream {
		if u.first == 0 {
			u.first = now.Sub(u.intended)
		}
		return
	}
	u.keepTail(part)
	count := bytes.Count(part, []byte(eventEnd))
	if u.newline && part[0] == '\n' {
		count++
	}
	u.newline = part[len(part)-1] == '\n' && !bytes.HasSuffix(part, []byte(eventEnd))
	if string(u.tail) == content.Done {
		count-- // the end marker is no chunk
	}
	if count <= 0 {
		return
	}
	g.noteEvents(u, count, now)
}

func (g *generator) noteEvents(u *user, count int, now time.Time) {
	inside := g.inWindow(now)
	if inside {
		g.measured.events += count
	}
	together := count
	if u.events == 0 {
		u.first = now.Sub(u.intended)
		together--
	} else if inside && now != u.last {
		g.measured.gaps.Add(now.Sub(u.last))
		together--
	}
	if inside && together > 0 {
		g.measured.gaps.AddMany(0, together)
	}
	u.events += count
	u.last = now
}

// keepTail remembers the last bytes, where a whole stream has its end marker.
func (u *user) keepTail(part []byte) {
	if len(part) >= len(content.Done) {
		u.tail = append(u.tail[:0], part[len(part)-len(content.Done):]...)
		return
	}
	u.tail = append(u.tail, part...)
	if extra := len(u.tail) - len(content.Done); extra > 0 {
		u.tail = u.tail[:copy(u.tail, u.tail[extra:])]
	}
}

// verdict of a response that has ended: "" when it is whole.
func (g *generator) verdict(u *user) string {
	if u.status != 200 {
		return fmt.Sprintf("status %d", u.status)
	}
	if g.given.stream && string(u.tail) != content.Done {
		return "truncated"
	}
	return ""
}

func (g *generator) connect(u *user) error {
	fd, err := loop.Dial(g.addresses[u.target])
	if err != nil {
		return err
	}
	u.fd, u.connecting = fd, true
	for len(g.byFD) <= fd {
		g.byFD = append(g.byFD, nil)
	}
	g.byFD[fd] = u
	g.measured.connects++
	return g.poller.Add(fd, loop.In|loop.Out)
}

func (g *generator) disconnect(u *user) {
	if u.fd < 0 {
		return
	}
	g.byFD[u.fd] = nil
	_ = syscall.Close(u.fd)
	u.fd, u.connecting, u.out = -1, false, nil
}

// send writes as much of the request as the kernel takes.
func (g *generator) send(u *user) error {
	count, err := loop.Write(u.fd, u.out)
	if err != nil {
		return err
	}
	u.out = u.out[count:]
	if len(u.out) > 0 {
		return g.poller.Change(u.fd, loop.In|loop.Out)
	}
	u.out = nil
	return nil
}
