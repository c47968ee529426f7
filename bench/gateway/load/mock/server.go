package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"berth.dev/bench/gateway/load/content"
	"berth.dev/bench/gateway/load/loop"
	"berth.dev/bench/gateway/load/wire"
)

const (
	readBytes = 64 << 10 // at least this much room for every read
	idleLimit = 100 * time.Millisecond
	// How late a paced event may be, so that those which are due together go out together, as the
	// sequences of an engine's step do; one wake-up for each would cost more than the writes.
	step = 200 * time.Microsecond
)

// server holds every connection of every port.
type server struct {
	poller  *loop.Poller
	model   string
	pace    pace
	ports   map[int]int // of listeners
	conns   []*conn     // by file descriptor
	waiting timers      // paced streams, by when their next event is due
	fast    []*conn     // streams without a pace: one event each a turn
	scripts map[script]*events
}

// conn is a connection and the answer that it is being given.
type conn struct {
	fd, port int
	in       []byte // the request as far as it has come
	out      []byte // what the kernel would not take yet
	body     wire.Body
	content  []byte
	reading  bool // a head has come, its body has not ended
	head     wire.Head
	closing  bool // after the answer

	events *events // nil: no stream is going out
	next   int     // event
	gap    time.Duration
	due    time.Time
	queued bool // in `fast`
}

// script names a stream's content; events are its bytes, framed as chunks of HTTP. The port is in a
// header, so that the load generator sees which endpoint has answered.
type script struct {
	port        int
	chat, usage bool
	count       int
}
type events struct{ framed [][]byte }

func newServer(poller *loop.Poller, model string, pace pace) *server {
	return &server{
		poller: poller, model: model, pace: pace,
		ports: map[int]int{}, scripts: map[script]*events{},
	}
}

func (s *server) listen(port int) error {
	fd, err := loop.Listen(port)
	if err != nil {
		return err
	}
	s.ports[fd] = port
	return s.poller.Add(fd, loop.In)
}

// turn waits for the next thing to do, and does all that is due.
func (s *server) turn(now time.Time) error {
	limit := idleLimit
	if len(s.fast) > 0 {
		limit = 0
	} else if len(s.waiting) > 0 {
		limit = min(limit, s.waiting[0].due.Sub(now)+step)
	}
	ready, err := s.poller.Wait(limit)
	if err != nil {
		return err
	}
	for _, event := range ready {
		s.handle(int(event.Fd), event.Events)
	}
	s.sendFast()
	s.sendDue(time.Now())
	return nil
}

func (s *server) handle(fd int, events uint32) {
	if port, ok := s.ports[fd]; ok {
		s.accept(fd, port)
		return
	}
	c := s.conns[fd]
	if c == nil {
		return
	}
	if events&loop.Out != 0 {
		s.flush(c)
	}
	if events&^uint32(loop.Out) != 0 && s.conns[fd] == c {
		s.read(c)
	}
}

func (s *server) accept(listener, port int) {
	for {
		fd, err := loop.Accept(listener)
		if err != nil {
			return
		}
		for len(s.conns) <= fd {
			s.conns = append(s.conns, nil)
		}
		s.conns[fd] = &conn{fd: fd, port: port}
		if s.poller.Add(fd, loop.In) != nil {
			s.close(s.conns[fd])
		}
	}
}

func (s *server) close(c *conn) {
	s.conns[c.fd] = nil
	c.events = nil // whoever holds it in a queue sees that it has ended
	_ = syscall.Close(c.fd)
}

func (s *server) read(c *conn) {
	if cap(c.in)-len(c.in) < readBytes {
		grown := make([]byte, len(c.in), 2*cap(c.in)+readBytes)
		copy(grown, c.in)
		c.in = grown
	}
	count, err := loop.Read(c.fd, c.in[len(c.in):cap(c.in)])
	if err == syscall.EAGAIN {
		return
	}
	if err != nil || count == 0 {
		s.close(c)
		return
	}
	c.in = c.in[:len(c.in)+count]
	if err := s.advance(c); err != nil {
		s.close(c)
	}
}

// advance takes requests off what has been read. A body by length, which is the rule, is used where
// it lies; one in chunks is put together first.
func (s *server) advance(c *conn) error {
	for len(c.in) > 0 && c.events == nil {
		if !c.reading {
			head, whole, err := wire.ParseHead(c.in)
			if err != nil || !whole {
				return err
			}
			c.head, c.reading = head, true
			c.body.Begin(&c.head, false)
			c.content = c.content[:0]
		}
		end, whole, err := s.bodyEnd(c)
		if err != nil || !whole {
			return err
		}
		// The buffer may have moved since the head was read, so its fields are looked up anew.
		c.head, _, _ = wire.ParseHead(c.in)
		c.reading, c.closing = false, c.head.Close
		request := parse(&c.head, c.content, s.pace)
		c.in = c.in[:copy(c.in, c.in[end:])]
		s.answer(c, request, time.Now())
	}
	return nil
}

func (s *server) bodyEnd(c *conn) (int, bool, error) {
	if !c.head.Chunked {
		end := c.head.Size + max(0, c.head.Length)
		if len(c.in) < end {
			return 0, false, nil
		}
		c.content = c.in[c.head.Size:end:end]
		return end, true, nil
	}
	c.body.Begin(&c.head, false)
	c.content = nil
	rest := c.in[c.head.Size:]
	for len(rest) > 0 && !c.body.Done() {
		var data []byte
		var err error
		if data, rest, err = c.body.Next(rest); err != nil {
			return 0, false, err
		}
		c.content = append(c.content, data...)
	}
	return len(c.in) - len(rest), c.body.Done(), nil
}

func (s *server) answer(c *conn, request asked, now time.Time) {
	switch request.address {
	case "/v1/chat/completions":
		s.generate(c, request, content.Kind{Chat: true, Model: s.model}, now)
	case "/v1/completions":
		s.generate(c, request, content.Kind{Model: s.model}, now)
	case "/v1/models":
		s.reply(c, 200, fmt.Sprintf(`{"object":"list","data":[{"id":"%s","object":"model",`+
			`"created":1760000000,"owned_by":"vllm","root":"%s","parent":null,`+
			`"max_model_len":131072,"permission":[]}]}`, s.model, s.model))
	case "/get_model_info", "/get_server_info", "/server_info", "/version":
		s.reply(c, 200, fmt.Sprintf(`{"model_path":"%s","version":"0.32.0"}`, s.model))
	case "/health", "/ping":
		s.reply(c, 200, "")
	case "/metrics":
		s.reply(c, 200, "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")
	case "/mock":
		s.configure(request.query)
		s.reply(c, 200, "{}")
	default:
		s.reply(c, 404, `{"error":{"message":"not found","type":"NotFoundError","code":404}}`)
	}
}

func (s *server) generate(c *conn, wanted asked, kind content.Kind, now time.Time) {
	plan := script{port: c.port, chat: kind.Chat, usage: wanted.usage, count: wanted.chunks}
	if !wanted.stream {
		plan.count = 0
	}
	c.events, c.next, c.gap = s.script(plan, kind), 0, wanted.gap
	if wanted.prefill > 0 {
		c.due = now.Add(wanted.prefill)
		s.waiting.push(c)
		return
	}
	c.due = now
	s.send(c)
}

// script is made once for each shape of answer; 0 events are a reply that does not stream.
func (s *server) script(plan script, kind content.Kind) *events {
	if made := s.scripts[plan]; made != nil {
		return made
	}
	made := &events{}
	if plan.count == 0 {
		made.framed = [][]byte{response(200, kind.Reply(), plan.port)}
	} else {
		for n := range plan.count {
			made.framed = append(made.framed, chunk(kind.Event(n, plan.count)))
		}
		last := plan.count - 1
		if plan.usage {
			made.framed[last] = append(made.framed[last], chunk(kind.Usage(plan.count))...)
		}
		made.framed[last] = append(made.framed[last], chunk(content.Done)...)
		made.framed[last] = append(made.framed[last], "0\r\n\r\n"...)
		head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ndate: Thu, 09 Oct 2025 08:53:20 GMT\r\n"+
			"server: uvicorn\r\nx-mock-port: %d\r\ncontent-type: text/event-stream; charset=utf-8"+
			"\r\ntransfer-encoding: chunked\r\n\r\n", plan.port)
		made.framed[0] = append(head, made.framed[0]...)
	}
	s.scripts[plan] = made
	return made
}

func chunk(data string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }

func response(status int, body string, port int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\ndate: Thu, 09 Oct 2025 08:53:20 GMT\r\n"+
		"server: uvicorn\r\nx-mock-port: %d\r\ncontent-length: %d\r\n"+
		"content-type: application/json\r\n\r\n%s",
		status, map[int]string{200: "OK", 404: "Not Found"}[status], port, len(body), body)
}

func (s *server) reply(c *conn, status int, body string) { s.write(c, response(status, body, c.port)) }

// configure sets the pace of what comes: "chunks=20&gap_us=5000&prefill_us=0".
func (s *server) configure(query string) {
	for _, pair := range strings.Split(query, "&") {
		name, text, _ := strings.Cut(pair, "=")
		value, ok := number([]byte(text))
		switch {
		case !ok:
		case name == "chunks":
			s.pace.chunks = value
		case name == "gap_us":
			s.pace.gap = time.Duration(value) * time.Microsecond
		case name == "prefill_us":
			s.pace.prefill = time.Duration(value) * time.Microsecond
		}
	}
}
