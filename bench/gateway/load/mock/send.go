package main

import (
	"time"

	"berth.dev/bench/gateway/load/loop"
)

// sendDue gives every paced stream what is due by now. A stream that is behind gets one system call
// for each event all the same, as an engine's server would make.
func (s *server) sendDue(now time.Time) {
	for len(s.waiting) > 0 && !s.waiting[0].due.After(now) {
		c := s.waiting.pop()
		if c.events != nil {
			s.send(c)
		}
	}
}

// sendFast gives every stream without a pace one event, as a step of an engine does.
func (s *server) sendFast() {
	streams := s.fast
	s.fast = s.fast[:0]
	for _, c := range streams {
		c.queued = false
		if c.events != nil && len(c.out) == 0 {
			s.send(c)
		}
	}
}

// send writes the next event, and says when the one after it is due.
func (s *server) send(c *conn) {
	event := c.events.framed[c.next]
	c.next++
	last := c.next == len(c.events.framed)
	if last {
		c.events = nil
	}
	if !s.write(c, event) {
		return
	}
	if last {
		if s.advance(c) != nil {
			s.close(c)
		}
		return
	}
	s.schedule(c)
}

func (s *server) schedule(c *conn) {
	switch {
	case c.gap > 0:
		c.due = c.due.Add(c.gap) // not from now: a late event makes no later one late
		s.waiting.push(c)
	case len(c.out) == 0 && !c.queued: // else flush goes on when the kernel has room
		c.queued = true
		s.fast = append(s.fast, c)
	}
}

// write returns false when the connection has ended.
func (s *server) write(c *conn, data []byte) bool {
	if len(c.out) > 0 {
		c.out = append(c.out, data...)
		return true
	}
	count, err := loop.Write(c.fd, data)
	if err != nil {
		s.close(c)
		return false
	}
	if count < len(data) {
		c.out = append(c.out[:0], data[count:]...)
		if s.poller.Change(c.fd, loop.In|loop.Out) != nil {
			s.close(c)
			return false
		}
	} else if c.closing && c.events == nil {
		s.close(c)
		return false
	}
	return true
}

// flush goes on where the kernel had no room.
func (s *server) flush(c *conn) {
	count, err := loop.Write(c.fd, c.out)
	if err != nil {
		s.close(c)
		return
	}
	c.out = c.out[:copy(c.out, c.out[count:])]
	if len(c.out) > 0 {
		return
	}
	if s.poller.Change(c.fd, loop.In) != nil || (c.closing && c.events == nil) {
		s.close(c)
		return
	}
	if c.events != nil && c.gap == 0 {
		s.schedule(c)
	}
}

// timers is a heap of connections, the earliest due first.
type timers []*conn

func (t *timers) push(c *conn) {
	*t = append(*t, c)
	heap := *t
	for at := len(heap) - 1; at > 0; {
		parent := (at - 1) / 2
		if !heap[at].due.Before(heap[parent].due) {
			break
		}
		heap[at], heap[parent] = heap[parent], heap[at]
		at = parent
	}
}

func (t *timers) pop() *conn {
	heap := *t
	first, last := heap[0], len(heap)-1
	heap[0], heap[last] = heap[last], nil
	heap = heap[:last]
	*t = heap
	for at := 0; ; {
		least := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(heap); child++ {
			if heap[child].due.Before(heap[least].due) {
				least = child
			}
		}
		if least == at {
			return first
		}
		heap[at], heap[least] = heap[least], heap[at]
		at = least
	}
}
