// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"container/list"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// perFlow is what a connection takes: two sockets, and a pipe each way for
// splice.
const perFlow = 6

// shares divides descriptors among the published ports: how many connections
// there may be at a time, and how many clients of each UDP port.
func shares(spare, tcp, udp int) (flows, sessions int) {
	spare -= tcp + udp
	if udp > 0 {
		part := spare
		if tcp > 0 {
			part /= 4
		}
		sessions = min(udpSessions, max(1, part/udp))
		spare -= sessions * udp
	}
	return max(1, spare/perFlow), sessions
}

// flow is one forwarded connection.
type flow struct {
	mu     sync.Mutex
	client *net.TCPConn
	server *net.TCPConn // nil: not connected yet
	dial   *os.File     // the socket that is being connected
	ended  bool
}

// end closes what the flow has, and what it is about to get.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.client.Close()
	if f.server != nil {
		f.server.Close()
	}
	if f.dial != nil {
		_ = f.dial.SetWriteDeadline(time.Unix(1, 0))
	}
}

// dialing names the socket that end interrupts; nil: it is connected, or failed.
func (f *flow) dialing(s *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dial = s
	if s != nil && f.ended {
		_ = s.SetWriteDeadline(time.Unix(1, 0))
	}
}

// connected reports false where the flow has been ended meanwhile.
func (f *flow) connected(server *net.TCPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = server
	return !f.ended
}

// use is how long the client has neither sent nor been sent anything, and
// whether it ever has. The kernel knows: with splice no byte comes by here.
func (f *flow) use() (idle time.Duration, used bool) {
	raw, err := f.client.SyscallConn()
	if err != nil {
		return time.Hour, false
	}
	idle = time.Hour
	_ = raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			idle = time.Duration(min(i.Last_data_recv, i.Last_data_sent)) * time.Millisecond
			used = i.Data_segs_in > 0 || i.Data_segs_out > 0
		}
	})
	return idle, used
}

// flowList holds the open connections of a set, at most limit.
type flowList struct {
	mu     sync.Mutex
	room   sync.Cond
	limit  int
	closed bool
	open   list.List // of *flow: the longest not looked at first
}

func (l *flowList) init(limit int) {
	l.room.L = &l.mu
	l.limit = limit
}

// add waits for room where the limit is reached: an idle connection has to go
// for the new one. It returns nil when the list is closed.
func (l *flowList) add(c *net.TCPConn) *list.Element {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open.Len() >= l.limit && !l.closed {
		if f := l.idlest(); f != nil {
			f.end()
		}
		l.room.Wait()
	}
	if l.closed {
		return nil
	}
	return l.open.PushBack(&flow{client: c})
}

const (
	scanned = 64               // idle connections that are compared for each new one
	busy    = 10 * time.Second // who moved data in this time is passed over
)

// idlest chooses the connection to end, among the first ones of the list. Busy
// ones go to its end, so that the next look sees others. Only where all are busy
// one of them has to go: who has not sent anything yet, so that nobody drives
// transfers out by connecting often, else the one that rests. nil: one is ending.
func (l *flowList) idlest() *flow {
	var found, rests *flow
	var longest, restsFor time.Duration
	var restsUsed bool
	e := l.open.Front()
	for i := range l.open.Len() {
		if i >= scanned && found != nil {
			break
		}
		f, next := e.Value.(*flow), e.Next()
		f.mu.Lock()
		ended := f.ended
		f.mu.Unlock()
		if ended {
			return nil
		}
		idle, used := f.use()
		if idle >= busy && (found == nil || idle > longest) {
			found, longest = f, idle
		}
		if idle < busy {
			if rests == nil || restsUsed && !used || used == restsUsed && idle > restsFor {
				rests, restsUsed, restsFor = f, used, idle
			}
			l.open.MoveToBack(e)
		}
		e = next
	}
	if found == nil {
		return rests
	}
	return found
}

func (l *flowList) remove(e *list.Element) {
	l.mu.Lock()
	l.open.Remove(e)
	l.mu.Unlock()
	l.room.Signal()
}

// close ends all connections and takes no further one.
func (l *flowList) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for e := l.open.Front(); e != nil; e = e.Next() {
		e.Value.(*flow).end()
	}
	l.room.Broadcast()
}
