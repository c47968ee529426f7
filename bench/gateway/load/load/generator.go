package main

import (
	"math/rand"
	"syscall"
	"time"

	"berth.dev/bench/gateway/load/content"
	"berth.dev/bench/gateway/load/loop"
)

const (
	readBytes   = 256 << 10
	lookAround  = 50 * time.Millisecond // for requests that have taken too long
	afterFailed = 10 * time.Millisecond // a user's pause, or a refusal would be a busy loop
)

// generator is the load: its users, its clock and what it has measured.
type generator struct {
	given     options
	poller    *loop.Poller
	addresses []*syscall.SockaddrInet4
	prompts   [][]prompt // by target
	expected  uint32     // checksum of the whole answer
	buffer    []byte
	byFD      []*user
	users     []*user
	idle      []*user     // of an open loop
	late      []time.Time // intended starts that found no connection
	resting   []rest      // users of a closed loop that begin or begin again, by time
	random    *rand.Rand
	next      time.Time // arrival
	from, to  time.Time // the window that is measured
	looked    time.Time
	begun     int // conversations
	asked     int // requests
	underway  int
	measured  measured
}

type rest struct {
	user  *user
	until time.Time
}

func newGenerator(poller *loop.Poller, given options, now time.Time) (*generator, error) {
	g := &generator{
		given: given, poller: poller, buffer: make([]byte, readBytes), looked: now,
		random: rand.New(rand.NewSource(given.seed)), next: now,
		from: now.Add(given.warmup), to: now.Add(given.warmup + given.duration),
	}
	kind := content.Kind{Chat: given.path == "/v1/chat/completions", Model: given.model}
	g.expected = content.Sum(0, []byte(kind.Reply()))
	if given.stream {
		g.expected = kind.StreamSum(given.chunks, false)
	}
	for _, target := range given.targets {
		address, err := loop.Resolve(target)
		if err != nil {
			return nil, err
		}
		g.addresses = append(g.addresses, address)
		g.prompts = append(g.prompts, prompts(given, target))
	}
	if given.rate == 0 {
		for n := range given.concurrency {
			offset := given.ramp * time.Duration(n) / time.Duration(given.concurrency)
			g.resting = append(g.resting, rest{g.newUser(), now.Add(offset)})
		}
	}
	return g, nil
}

func (g *generator) newUser() *user {
	u := &user{fd: -1, target: len(g.users) % len(g.addresses), turn: g.given.turns}
	g.users = append(g.users, u)
	return u
}

func (g *generator) inWindow(at time.Time) bool { return !at.Before(g.from) && at.Before(g.to) }

func (g *generator) finished(now time.Time) bool {
	if g.exhausted() && g.underway == 0 {
		g.to = now // what is measured ends with the last of them
		return true
	}
	if now.Before(g.to) {
		return false
	}
	return g.underway == 0 || now.After(g.to.Add(g.given.drain))
}

// turn starts what is due, waits for the next thing to happen, and handles it.
func (g *generator) turn() error {
	now := time.Now()
	g.measured.atEdges(now, g.from, g.to)
	g.start(now)
	ready, err := g.poller.Wait(g.patience(time.Now()))
	if err != nil {
		return err
	}
	for _, event := range ready {
		if u := g.byFD[event.Fd]; u != nil {
			g.handle(u, event.Events)
		}
	}
	if now = time.Now(); now.Sub(g.looked) > lookAround {
		g.looked = now
		g.expire(now)
	}
	return nil
}

// exhausted says whether all requests of a run by count have begun.
func (g *generator) exhausted() bool {
	return g.given.requests > 0 && g.asked >= g.given.requests
}

func (g *generator) patience(now time.Time) time.Duration {
	limit := lookAround
	for _, edge := range []time.Time{g.from, g.to} {
		if edge.After(now) {
			limit = min(limit, edge.Sub(now))
		}
	}
	if g.given.rate > 0 && now.Before(g.to) {
		limit = min(limit, g.next.Sub(now))
	}
	if len(g.resting) > 0 {
		limit = min(limit, g.resting[0].until.Sub(now))
	}
	return limit
}

func (g *generator) start(now time.Time) {
	if !now.Before(g.to) || g.exhausted() {
		g.resting = nil
		return
	}
	for len(g.resting) > 0 && !g.resting[0].until.After(now) {
		u := g.resting[0].user
		g.resting = g.resting[1:]
		if !g.exhausted() {
			g.ask(u, now)
		}
	}
	if g.given.rate == 0 {
		return
	}
	for ; !g.next.After(now); g.next = g.next.Add(g.pause()) {
		g.late = append(g.late, g.next)
	}
	g.serveLate()
}

// pause to the next arrival.
func (g *generator) pause() time.Duration {
	seconds := 1 / g.given.rate
	if !g.given.even {
		seconds *= g.random.ExpFloat64()
	}
	return time.Duration(seconds * float64(time.Second))
}

// serveLate gives the arrivals of an open loop a connection each, the one used last first.
func (g *generator) serveLate() {
	for len(g.late) > 0 {
		var u *user
		if count := len(g.idle); count > 0 {
			u, g.idle = g.idle[count-1], g.idle[:count-1]
		} else if len(g.users) < g.given.connections {
			u = g.newUser()
		} else {
			return
		}
		intended := g.late[0]
		g.late = g.late[1:]
		g.ask(u, intended)
	}
}

// ask begins a user's next request.
func (g *generator) ask(u *user, intended time.Time) {
	if u.turn++; u.turn >= g.given.turns {
		u.turn, u.conversation, u.endpoint = 0, g.begun, ""
		if g.begun++; g.given.distinct > 0 {
			u.conversation %= g.given.distinct
		}
	}
	u.begin(intended)
	g.underway++
	g.asked++
	if u.fd < 0 {
		if err := g.connect(u); err != nil {
			g.end(u, "connect", time.Now())
		}
		return
	}
	g.request(u)
}

func (g *generator) request(u *user) {
	shape := &g.prompts[u.target][u.turn]
	shape.write(u.conversation)
	u.out = shape.bytes
	if err := g.send(u); err != nil {
		g.end(u, "closed", time.Now())
		return
	}
	// The bytes are shared: a rest that still held the number would be another's by the time it goes.
	if sent := len(shape.bytes) - len(u.out); len(u.out) > 0 && sent < shape.number+len(mark) {
		u.out = append([]byte(nil), u.out...)
	}
}

func (g *generator) handle(u *user, events uint32) {
	if u.connecting {
		u.connecting = false
		if loop.Failure(u.fd) != nil || g.poller.Change(u.fd, loop.In) != nil {
			g.end(u, "connect", time.Now())
			return
		}
		g.request(u)
		return
	}
	if events&loop.Out != 0 && len(u.out) > 0 {
		if g.send(u) != nil || (len(u.out) == 0 && g.poller.Change(u.fd, loop.In) != nil) {
			g.end(u, "closed", time.Now())
			return
		}
	}
	if events&^uint32(loop.Out) != 0 {
		g.read(u)
	}
}

func (g *generator) read(u *user) {
	count, err := loop.Read(u.fd, g.buffer)
	if err == syscall.EAGAIN {
		return
	}
	now := time.Now()
	if err != nil || count == 0 {
		g.closed(u, now)
		return
	}
	if !u.busy {
		g.disconnect(u) // nothing was asked
		return
	}
	if g.inWindow(now) {
		g.measured.reads++
	}
	done, err := g.take(u, g.buffer[:count], now)
	if err != nil {
		g.end(u, "malformed", now)
	} else if done {
		g.end(u, g.verdict(u), now)
	}
}

func (g *generator) closed(u *user, now time.Time) {
	switch {
	case !u.busy:
		g.disconnect(u)
	case u.inBody && u.body.EndedByClose():
		u.closes = true
		g.end(u, g.verdict(u), now)
	default:
		g.end(u, "closed", now)
	}
}

func (g *generator) expire(now time.Time) {
	for _, u := range g.users {
		if u.busy && now.Sub(u.intended) > g.given.timeout {
			g.end(u, "timeout", now)
		}
	}
}

// end of a request, well ("") or not; the user asks again, rests or waits for an arrival.
func (g *generator) end(u *user, failure string, now time.Time) {
	u.busy = false
	g.underway--
	g.note(u, failure, now)
	if failure != "" || u.closes {
		g.disconnect(u)
		u.closes = false
	}
	switch {
	case g.given.rate > 0:
		g.idle = append(g.idle, u)
		g.serveLate()
	case failure != "":
		u.turn = g.given.turns // a conversation that broke is over
		g.resting = append(g.resting, rest{u, now.Add(afterFailed)})
	case now.Before(g.to) && !g.exhausted():
		g.ask(u, now)
	}
}

func (g *generator) note(u *user, failure string, now time.Time) {
	if failure == "" && g.inWindow(now) {
		g.measured.completed++
	}
	if !g.inWindow(u.intended) {
		return
	}
	g.measured.requests++
	if failure != "" {
		g.measured.fail(failure)
		return
	}
	g.measured.ok++
	if u.sum == g.expected {
		g.measured.same++
	}
	g.measured.first.Add(u.first)
	g.measured.total.Add(now.Sub(u.intended))
}
