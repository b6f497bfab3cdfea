// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// The library's registry client limits neither how long a server may be silent
// nor, but for manifests and tokens, how long its answer may be; and it takes no
// transport of ours. It does make its requests with our context, and net/http
// tells a trace in that context which connection each request goes over. That is
// enough: silence ends with a read deadline of the connection, and the kernel
// counts what came in.

// Limits for one watched call.
const (
	maxAnswer   = 32 << 20 // bytes of answers that are no layer
	maxRequests = 10000    // of a list that goes on and on
	answerPoll  = 10 * time.Millisecond
	// slowAnswer times the silence is what one answer that is no layer may take.
	slowAnswer = 10
	// pushPatience times the silence is what a registry may take to think about
	// a layer that it got.
	pushPatience = 10
)

// silence is how long a server may send nothing (and take nothing). The variable
// is for tests.
func silence() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("PROA_REGISTRY_SILENCE")); err == nil && d > 0 {
		return d
	}
	return 30 * time.Second
}

// watch limits the requests that are made with one context.
type watch struct {
	parent, ctx context.Context
	cancel      context.CancelCauseFunc
	silence     time.Duration

	mu       sync.Mutex
	conns    map[net.Conn]*watchedConn
	requests int
	before   uint64 // bytes from connections that are closed
	free     bool   // answers may be of any length
}

type watchedConn struct {
	base, in uint64    // bytes received before the first request, and until now
	moved    uint64    // received and sent, when it was looked at last
	began    time.Time // the present request
	deadline time.Time
}

// watched returns a context for requests to registries; whoever makes it stops
// the watch. Inside of another watch the requests are this one's alone: two would
// move the deadlines of one connection.
func watched(ctx context.Context, silence time.Duration) *watch {
	w := &watch{parent: ctx, silence: silence, conns: map[net.Conn]*watchedConn{}}
	base := ctx
	if outer, ok := ctx.Value(watchKey{}).(context.Context); ok {
		base = outer
	}
	w.ctx, w.cancel = context.WithCancelCause(base)
	unfollow := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	go func(ctx context.Context) {
		defer unfollow()
		w.run(ctx)
	}(w.ctx)
	w.ctx = context.WithValue(w.ctx, watchKey{}, base)
	w.ctx = httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{GotConn: w.gotConn})
	return w
}

// watchKey is where a watch's context has the one without any watch.
type watchKey struct{}

func (w *watch) stop() { w.cancel(nil) }

// unlimited lets the rest of the answer be of any length: it is a layer, whose
// length the manifest tells.
func (w *watch) unlimited() {
	w.mu.Lock()
	w.free = true
	w.mu.Unlock()
}

func (w *watch) gotConn(i httptrace.GotConnInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.conns[i.Conn]
	if c == nil {
		c = &watchedConn{}
		c.base, c.moved, _ = traffic(i.Conn)
		c.in = c.base
		w.conns[i.Conn] = c
	}
	c.began = time.Now()
	w.extend(i.Conn, c, c.began)
	if w.requests++; w.requests > maxRequests {
		w.cancel(errs.New(errs.Invalid, "the registry's answer has more than %d parts", maxRequests))
	}
}

func (w *watch) extend(conn net.Conn, c *watchedConn, now time.Time) {
	if d := now.Add(w.silence); d.Sub(c.deadline) > w.silence/8 {
		c.deadline = d
		_ = conn.SetReadDeadline(d)
	}
}

// patient gives the servers their time anew: before a read, since it is our
// doing when nothing was read for long.
func (w *watch) patient() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for conn, c := range w.conns {
		w.extend(conn, c, now)
	}
}

// run looks at the connections until the watch ends.
func (w *watch) run(ctx context.Context) {
	every := answerPoll
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		free, n := w.look(time.Now())
		if !free && n > maxAnswer {
			w.cancel(errs.New(errs.Invalid, "the registry's answer is longer than the %d MiB that are accepted", maxAnswer>>20))
			return
		}
		if slow := w.silence / 16; free && every != slow {
			every = slow
			tick.Reset(every)
		}
	}
}

// look extends the deadlines where something moves, and says how much has come.
func (w *watch) look(now time.Time) (free bool, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn, c := range w.conns {
		in, moved, ok := traffic(conn)
		if !ok {
			w.before += c.in - c.base
			delete(w.conns, conn)
			continue
		}
		c.in = in
		n += in - c.base
		if moved != c.moved && (w.free || now.Sub(c.began) < slowAnswer*w.silence) {
			c.moved = moved
			w.extend(conn, c, now)
		}
	}
	return w.free, w.before + n
}

// explain is err, or in its place the limit that caused it.
func (w *watch) explain(err error) error {
	if err == nil || w.parent.Err() != nil {
		return err
	}
	var own *errs.Error
	if cause := context.Cause(w.ctx); errors.As(cause, &own) {
		return own
	}
	if silent(err) {
		return errs.WithHint(errs.New(errs.Unavailable, "the registry sent nothing for %s: %w", w.silence, err), "try again later")
	}
	return err
}

// Within makes one call with a watch of its own: the context that do gets limits
// how long a server may be silent and how long its answers may be. The error is
// do's, or of Kind Unavailable or Invalid the limit that was reached.
func Within(ctx context.Context, do func(context.Context) error) error {
	w := watched(ctx, silence())
	defer w.stop()
	return w.explain(do(w.ctx))
}

// Sending is Within for a call that sends layers: a registry may think about what
// it got, and its answers are short as ever.
func Sending(ctx context.Context, do func(context.Context) error) error {
	w := watched(ctx, pushPatience*silence())
	defer w.stop()
	return w.explain(do(w.ctx))
}

// Patiently is Within for a call that transfers layers either way: they may be of
// any length, but not stand still.
func Patiently(ctx context.Context, do func(context.Context) error) error {
	w := watched(ctx, pushPatience*silence())
	defer w.stop()
	w.unlimited()
	return w.explain(do(w.ctx))
}

// traffic is how many bytes a TCP connection has received, and how many it
// received or sent, since it was made.
func traffic(c net.Conn) (in, moved uint64, ok bool) {
	if t, isTLS := c.(*tls.Conn); isTLS {
		c = t.NetConn()
	}
	sc, isSys := c.(syscall.Conn)
	if !isSys {
		return 0, 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			in, moved, ok = info.Bytes_received, info.Bytes_received+info.Bytes_acked, true
		}
	})
	return in, moved, ok && err == nil
}

// silent reports whether err says that a server sent nothing for too long.
func silent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "read" && errors.Is(err, os.ErrDeadlineExceeded)
}
