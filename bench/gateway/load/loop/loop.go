// Package loop is a thin layer over epoll and non-blocking sockets: one thread, one system call per
// message. Go's own network poller asks twice per message (a read that would block, then another)
// and switches goroutines in between; on the one core that the mock engine and the load share with
// each other, that is the difference between measuring a gateway and measuring ourselves.
package loop

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

const (
	In  = syscall.EPOLLIN | syscall.EPOLLRDHUP
	Out = syscall.EPOLLOUT

	batch          = 512  // events taken from the kernel at once
	backlog        = 4096 // connections that arrive in one burst
	epollPwait2    = 441  // has nanoseconds where epoll_wait has milliseconds
	setTimerSlack  = 29   // prctl: the kernel rounds wake-ups by 50 us unless told
	timerSlackNano = 1
)

// Poller belongs to one thread.
type Poller struct {
	fd     int
	events [batch]syscall.EpollEvent
}

func New() (*Poller, error) {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, timerSlackNano, 0)
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &Poller{fd: fd}, err
}

func (p *Poller) Add(fd int, events uint32) error {
	return p.control(syscall.EPOLL_CTL_ADD, fd, events)
}

func (p *Poller) Change(fd int, events uint32) error {
	return p.control(syscall.EPOLL_CTL_MOD, fd, events)
}

func (p *Poller) control(operation, fd int, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: int32(fd)}
	return syscall.EpollCtl(p.fd, operation, fd, &event)
}

// Wait returns what is ready within the time given; none is no error.
func (p *Poller) Wait(limit time.Duration) ([]syscall.EpollEvent, error) {
	var count uintptr
	var failed syscall.Errno
	at := uintptr(unsafe.Pointer(&p.events[0]))
	until := syscall.NsecToTimespec(max(0, int64(limit)))
	timeout := uintptr(unsafe.Pointer(&until))
	if limit <= 0 {
		count, _, failed = syscall.RawSyscall6(epollPwait2, uintptr(p.fd), at, batch, timeout, 0, 0)
	} else {
		count, _, failed = syscall.Syscall6(epollPwait2, uintptr(p.fd), at, batch, timeout, 0, 0)
	}
	if failed == syscall.EINTR {
		return nil, nil
	}
	if failed != 0 {
		return nil, failed
	}
	return p.events[:count], nil
}

// Read returns how many bytes came; 0 is the peer's end, and syscall.EAGAIN nothing yet.
func Read(fd int, into []byte) (int, error) { return transfer(syscall.SYS_READ, fd, into) }

// Write returns how many bytes the kernel took, which may be fewer than were given.
func Write(fd int, from []byte) (int, error) {
	count, err := transfer(syscall.SYS_WRITE, fd, from)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return count, err
}

// Such calls never block, so the scheduler need not hear of them.
func transfer(call uintptr, fd int, data []byte) (int, error) {
	for {
		at := uintptr(unsafe.Pointer(&data[0]))
		count, _, failed := syscall.RawSyscall(call, uintptr(fd), at, uintptr(len(data)))
		switch failed {
		case 0:
			return int(count), nil
		case syscall.EINTR:
		default:
			return 0, failed
		}
	}
}

// Listen opens a non-blocking listener on 127.0.0.1.
func Listen(port int) (int, error) {
	fd, err := socket()
	if err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	address := syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, &address); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return fd, syscall.Listen(fd, backlog)
}

// Accept returns a connected socket, or syscall.EAGAIN when there is none.
func Accept(listener int) (int, error) {
	fd, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return 0, err
	}
	return fd, noDelay(fd)
}

// Dial starts a connection: it is up when the socket can be written, and Failure tells.
func Dial(address *syscall.SockaddrInet4) (int, error) {
	fd, err := socket()
	if err != nil {
		return 0, err
	}
	if err := noDelay(fd); err != nil {
		return 0, err
	}
	if err := syscall.Connect(fd, address); err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		return 0, err
	}
	return fd, nil
}

// Failure is why a connection that was being made was not; nil when it was.
func Failure(fd int) error {
	code, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return syscall.Errno(code)
	}
	return nil
}

// Resolve reads "host:port"; only IPv4.
func Resolve(text string) (*syscall.SockaddrInet4, error) {
	found, err := net.ResolveTCPAddr("tcp4", text)
	if err != nil {
		return nil, err
	}
	return &syscall.SockaddrInet4{Port: found.Port, Addr: [4]byte(found.IP.To4())}, nil
}

func socket() (int, error) {
	kind := syscall.SOCK_STREAM | syscall.SOCK_NONBLOCK | syscall.SOCK_CLOEXEC
	return syscall.Socket(syscall.AF_INET, kind, 0)
}

func noDelay(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
}
