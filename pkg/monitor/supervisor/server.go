// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/stream"
	"github.com/proa-containers/proa/pkg/rundir"
)

// server answers on RunDir/sock.
type server struct {
	s    *supervisor
	over chan struct{} // closed when the container has ended for good

	mu       sync.Mutex
	l        *os.File
	watchers map[*watcher]bool
	sessions sync.WaitGroup   // exec'd processes whose end somebody waits for
	settled  chan struct{}    // closed when a client settles the record
	last     []*stream.Client // those that were attached at the end
	once     sync.Once
}

// watcher is a client that is told about the end.
type watcher struct {
	conn   *monitor.Conn
	client *stream.Client // of an attachment: what it is told comes after its output
	next   bool           // it is told of an end that a restart follows, too
	gone   chan struct{}
}

const (
	requestTime = 10 * time.Second // for a client to say what it wants
	farewell    = 2 * time.Second  // for a client to take in the end
)

func newServer(s *supervisor) (*server, error) {
	l, err := listen(s.o.RunDir)
	if err != nil {
		return nil, err
	}
	return &server{s: s, l: l, over: make(chan struct{}), settled: make(chan struct{}), watchers: map[*watcher]bool{}}, nil
}

// listen binds the socket through a descriptor of its directory: the path may
// be longer than a socket address.
func listen(runDir string) (*os.File, error) {
	dir, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errs.Wrap(err, "open runtime directory", runDir)
	}
	defer unix.Close(dir)
	_ = os.Remove(filepath.Join(runDir, rundir.SocketFile))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	name := filepath.Join("/proc/self/fd", strconv.Itoa(dir), rundir.SocketFile)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	if err == nil {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		unix.Close(fd)
		return nil, errs.Wrap(err, "listen in", runDir)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// listenAgain answers on a new socket instead of one whose name is gone.
func (v *server) listenAgain() error {
	l, err := listen(v.s.o.RunDir)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.l, l = l, v.l
	v.mu.Unlock()
	_ = l.Close()
	go v.accept()
	return nil
}

// serve begins to answer; private is the connection that came with the launch.
func (v *server) serve(private *os.File) {
	if private != nil {
		c, err := monitor.NewConn(private)
		if err == nil {
			go v.handle(c, true)
		}
	}
	go v.accept()
}

func (v *server) accept() {
	v.mu.Lock()
	raw, err := v.l.SyscallConn()
	v.mu.Unlock()
	if err != nil {
		return
	}
	for {
		var fd int
		var aerr error
		err := raw.Read(func(l uintptr) bool {
			fd, _, aerr = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return !errors.Is(aerr, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if aerr != nil {
			// Out of descriptors or memory: a busy loop would not help.
			time.Sleep(50 * time.Millisecond)
			continue
		}
		c, err := monitor.NewConnFD(fd)
		if err == nil {
			go v.handle(c, false)
		}
	}
}

func (v *server) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.l.Close()
}

// handle answers one connection. The private one may wait as long as it likes.
func (v *server) handle(c *monitor.Conn, private bool) {
	defer c.Close()
	if !private {
		// The directory keeps others out already; the kernel's word is better.
		if uid, err := c.PeerUID(); err != nil || int(uid) != os.Getuid() {
			return
		}
		_ = c.SetDeadline(time.Now().Add(requestTime))
	}
	req, fds, err := c.ReadRequest()
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	defer v.s.stirred()
	defer process.CloseFiles(fds...)
	if err := v.dispatch(c, &req, fds, private); err != nil {
		_ = ok(c, monitor.Reply{Error: wire.New(err)})
	}
}

// dispatch answers a request; an error that it returns has not been sent yet.
func (v *server) dispatch(c *monitor.Conn, req *monitor.Request, fds []*os.File, private bool) error {
	s := v.s
	switch req.Op {
	case monitor.OpStatus:
		st := s.snapshot()
		return ok(c, monitor.Reply{Status: &st})
	case monitor.OpAttach:
		return v.attach(c, req.Attach, private)
	case monitor.OpExec:
		return v.exec(c, req.Exec, fds)
	case monitor.OpSignal:
		if err := s.kill(req.Signal); err != nil {
			return err
		}
		return ok(c, monitor.Reply{})
	case monitor.OpResize:
		s.hub.Resize(req.Rows, req.Cols)
		return ok(c, monitor.Reply{})
	case monitor.OpPause, monitor.OpUnpause:
		if err := s.freeze(req.Op == monitor.OpPause); err != nil {
			return err
		}
		return ok(c, monitor.Reply{})
	case monitor.OpWait:
		return v.watch(c, req.Next, func() {})
	case monitor.OpStop:
		if req.Remove {
			s.removing.Store(true)
		}
		return v.watch(c, false, func() { s.stop(req.Signal, req.Timeout, true) })
	}
	return errs.New(errs.Invalid, "request %q is not known", req.Op)
}

// ok replies. A client that does not take it in is given up.
func ok(c *monitor.Conn, r monitor.Reply) error {
	_ = c.SetWriteDeadline(time.Now().Add(requestTime))
	_ = c.WriteJSON(monitor.FrameReply, r)
	_ = c.SetWriteDeadline(time.Time{})
	return nil
}

// register makes c hear about the end, which may come at once: accept answers the
// request before. It fails after the end: the client then finds it in exit.json.
func (v *server) register(c *monitor.Conn, cl *stream.Client, next bool, accept func()) (*watcher, error) {
	w := &watcher{conn: c, client: cl, next: next, gone: make(chan struct{})}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watchers == nil {
		return nil, errs.New(errs.State, "container is not running")
	}
	accept() // the first frame of a connection: it finds room
	v.watchers[w] = true
	return w, nil
}

func (v *server) unregister(w *watcher) {
	v.mu.Lock()
	delete(v.watchers, w)
	v.mu.Unlock()
	close(w.gone)
}

func (v *server) watch(c *monitor.Conn, next bool, begin func()) error {
	w, err := v.register(c, nil, next, func() { _ = ok(c, monitor.Reply{}) })
	if err != nil {
		return err
	}
	defer v.unregister(w)
	begin()
	for {
		fr, err := c.Read(nil)
		if err != nil {
			return nil
		}
		fr.CloseFDs()
		if fr.Type == monitor.FrameSettles {
			v.settles()
			return nil
		}
	}
}

func (v *server) settles() { v.once.Do(func() { close(v.settled) }) }

// attach subscribes a client to the process's streams until either ends.
func (v *server) attach(c *monitor.Conn, r *monitor.AttachRequest, own bool) error {
	if r == nil {
		return errs.New(errs.Invalid, "attach without its options")
	}
	h, cl := v.s.hub, stream.NewClient(c, r, own)
	st := v.s.snapshot()
	reply, err := json.Marshal(monitor.Reply{Status: &st})
	if err != nil {
		return err
	}
	w, err := v.register(c, cl, false, func() {
		h.Resize(r.Rows, r.Cols)
		h.Admit(cl, reply)
	})
	if err != nil {
		return err
	}
	defer v.unregister(w)
	defer h.Detach(cl)
	if v.s.cfg.Tethered {
		// Its first client is a build step's only reason to live.
		defer func() { _ = v.s.kill(int(unix.SIGKILL)) }()
	}
	v.readClient(stream.NewInbox(c), r)
	if r.Stdin && v.s.cfg.Process.StdinOnce && v.started() {
		h.CloseInput()
	}
	return nil
}

// started waits until the process can take input: a client may send some, and
// even leave, before the start.
func (v *server) started() bool {
	select {
	case <-v.s.hub.Running:
		return true
	case <-v.over:
		return false
	}
}

// readClient takes a client's input until it leaves.
func (v *server) readClient(in *stream.Inbox, r *monitor.AttachRequest) {
	h := v.s.hub
	var buf []byte
	for {
		fr, err := in.Next(buf)
		if err != nil {
			return
		}
		fr.CloseFDs()
		switch fr.Type {
		case monitor.FrameStdin:
			if r.Stdin && v.started() {
				h.Input(fr.Payload, in)
			}
			if buf == nil && len(fr.Payload) > 0 {
				buf = make([]byte, 4<<10) // an interactive client; larger frames bring their own
			}
		case monitor.FrameCloseStdin:
			if r.Stdin && v.s.cfg.Process.StdinOnce && v.started() {
				h.CloseInput()
			}
		case monitor.FrameResize:
			h.Resize(monitor.ParseResize(fr.Payload))
		case monitor.FrameSignal:
			_ = v.s.kill(monitor.ParseSignal(fr.Payload))
		case monitor.FrameSettles:
			v.settles()
			return
		case monitor.FrameDetach:
			return
		}
	}
}

// announceRestart tells those who wait for the next end, whatever follows.
func (v *server) announceRestart(e monitor.Exit) {
	v.mu.Lock()
	var list []*watcher
	for w := range v.watchers {
		if w.next {
			list = append(list, w)
			delete(v.watchers, w)
		}
	}
	v.mu.Unlock()
	for _, w := range list {
		_ = w.conn.SetWriteDeadline(time.Now().Add(farewell))
		_ = w.conn.WriteJSON(monitor.FrameExited, e)
	}
}

// announce tells everybody about the end and reports whether somebody settles
// the record.
func (v *server) announce(e monitor.Exit) bool {
	v.mu.Lock()
	list := make([]*watcher, 0, len(v.watchers))
	for w := range v.watchers {
		list = append(list, w)
	}
	v.watchers = nil
	v.mu.Unlock()
	close(v.over)
	text, _ := json.Marshal(e)
	for _, w := range list {
		if w.client != nil {
			_ = w.client.Post(monitor.FrameExited, text)
			v.last = append(v.last, w.client)
			continue
		}
		_ = w.conn.SetWriteDeadline(time.Now().Add(farewell))
		_ = w.conn.Write(monitor.FrameExited, text)
	}
	sessions := make(chan struct{})
	go func() { v.sessions.Wait(); close(sessions) }()
	timeout := time.After(farewell)
	settled := false
	for _, gone := range append(doors(list), sessions) {
		select {
		case <-gone:
		case <-v.settled:
			settled = true
		case <-timeout:
			return settled
		}
	}
	select {
	case <-v.settled:
		settled = true
	default:
	}
	return settled
}

// linger sends attached clients what they have not taken yet. Nothing of the
// container is left by then, and nobody waits for this.
func (v *server) linger() {
	for _, c := range v.last {
		c.Flush()
	}
}

func doors(list []*watcher) []chan struct{} {
	d := make([]chan struct{}, len(list))
	for i, w := range list {
		d[i] = w.gone
	}
	return d
}
