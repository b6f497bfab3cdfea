// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/proa-containers/proa/network/netstack"
	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/term"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/progress"
)

// Layers, volumes and writable layers hold files of many owners, so whoever
// changes them must be root in the user's namespace. The front end is not; it
// starts itself again in there for the one operation:
//
//	front end                              proa __inside OP, in the namespace
//	  request (JSON, descriptor 3) ------>   does it
//	  <------ progress, result or error (a JSON value each, descriptor 4)
//
// Standard input and output are the caller's where the operation uses them.

// insideCommand is the hidden command.
const insideCommand = "__inside"

// signalDelay is how much later than the copy this process may learn of a signal that
// the terminal sends to both.
const signalDelay = time.Second

// Descriptors of the copy.
const (
	requestFD = 3
	replyFD   = 4
)

// insideReply is one message to the front end.
type insideReply struct {
	Line   *string         `json:"line,omitempty"`
	Layer  *progress.Event `json:"layer,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *wire.Error     `json:"error,omitempty"`
	Done   bool            `json:"done,omitempty"`
}

// insideCall is one operation under way.
type insideCall struct {
	e        *Engine
	request  []byte // JSON
	stdin    io.Reader
	stdout   io.Writer
	progress storage.Progress // nil: nothing is told
}

// insideOp does the work; the result is made into JSON.
type insideOp func(ctx context.Context, c *insideCall) (any, error)

// inside runs an operation as root of the user's namespace. request and result
// (a pointer, or nil) pass through JSON where this process is not in it.
func (e *Engine) inside(ctx context.Context, op string, request, result any, stdin io.Reader, p storage.Progress) error {
	return e.insideStreams(ctx, op, request, result, stdio{in: stdin}, p)
}

// stdio are the caller's streams that an operation reads or writes; nil: none.
type stdio struct {
	in  io.Reader
	out io.Writer
}

// insideStreams is inside for operations that write a stream.
func (e *Engine) insideStreams(ctx context.Context, op string, request, result any, std stdio, p storage.Progress) error {
	req, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if userns.Inside() || os.Geteuid() == 0 {
		v, err := insideOps()[op](ctx, &insideCall{e, req, term.Interruptible(ctx, std.in), std.out, p})
		if err != nil || result == nil {
			return err
		}
		return viaJSON(v, result)
	}
	ns, err := e.namespace(ctx)
	if err != nil {
		return err
	}
	defer ns.Close()
	if ns.None() {
		return errs.New(errs.Internal, "no namespace to enter")
	}
	return e.callInside(ctx, ns, op, req, result, std, p)
}

func viaJSON(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func (e *Engine) callInside(ctx context.Context, ns *userns.Namespace, op string, req []byte, result any, std stdio, p storage.Progress) error {
	reqR, reqW, err := os.Pipe()
	if err != nil {
		return err
	}
	repR, repW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, reqR.Close(), reqW.Close())
	}
	defer repR.Close()
	cmd := exec.Command("/proc/self/exe", insideCommand, op)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, os.Stderr
	pipes := []*os.File{reqR, repW}
	cmd.ExtraFiles = userns.NamedFiles(pipes, string(req)) // the shell's <(...)
	defer userns.CloseFiles(cmd.ExtraFiles[len(pipes):])
	cmd.WaitDelay = 1 // a copy of stdin to a child that has ended is not waited for
	if std.out != nil {
		cmd.WaitDelay = 0 // but what it has written is
	}
	if cmd.Env, err = userns.InsideEnv(os.Environ()); err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, e.dirEnv()...)
	child, err := ns.Start(cmd, userns.Options{NewMount: true, Death: syscall.SIGKILL})
	reqR.Close()
	repW.Close()
	if err != nil {
		reqW.Close()
		return err
	}
	go func() {
		_, _ = reqW.Write(req)
		reqW.Close()
	}()
	if _, err := child.Ready(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	done, err := listen(repR, result, p)
	werr := cmd.Wait()
	if errs.Is(err, errs.Canceled) {
		// Ctrl-C reaches both processes; this one may not have come to it yet.
		select {
		case <-ctx.Done():
		case <-time.After(signalDelay):
			return context.Canceled
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case !done && std.out != nil && brokenPipe(werr):
		return &errs.ExitError{Code: statusBrokenPipe} // "save | head": as silent as cat is
	case !done && werr != nil:
		return errs.New(errs.Internal, "cannot finish %q in the user namespace: %v", op, werr)
	case !done:
		return errs.New(errs.Internal, "cannot finish %q in the user namespace: it exited without reporting a result", op)
	}
	return nil
}

// listen reads replies until the one that ends the operation.
func listen(r io.Reader, result any, p storage.Progress) (done bool, err error) {
	dec := json.NewDecoder(r)
	for {
		var m insideReply
		if err := dec.Decode(&m); err != nil {
			return false, nil // its exit status tells more
		}
		switch {
		case m.Error != nil:
			return true, m.Error.Err()
		case m.Done:
			if result == nil || m.Result == nil {
				return true, nil
			}
			return true, json.Unmarshal(m.Result, result)
		case p != nil && m.Line != nil:
			p.Line(*m.Line)
		case p != nil && m.Layer != nil:
			p.Layer(*m.Layer)
		}
	}
}

// wireProgress sends progress to the front end.
type wireProgress struct{ enc *json.Encoder }

func (w wireProgress) Line(text string)       { _ = w.enc.Encode(insideReply{Line: &text}) }
func (w wireProgress) Layer(l progress.Event) { _ = w.enc.Encode(insideReply{Layer: &l}) }

// runInside is the copy's side.
func runInside(ctx context.Context, args []string) error {
	reqF, repF := os.NewFile(requestFD, "request"), os.NewFile(replyFD, "reply")
	if len(args) != 1 || reqF == nil || repF == nil {
		return errs.New(errs.Invalid, "%s is for proa's own use", insideCommand)
	}
	syscall.CloseOnExec(requestFD)
	syscall.CloseOnExec(replyFD)
	defer holdSignals()()
	enc := json.NewEncoder(repF)
	out := &outPipe{f: os.Stdout}
	v, err := serveInside(ctx, args[0], reqF, out, wireProgress{enc})
	if out.broken {
		return &errs.ExitError{Code: statusBrokenPipe}
	}
	if err != nil {
		return enc.Encode(insideReply{Error: wire.New(err)})
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return enc.Encode(insideReply{Done: true, Result: b})
}

// holdSignals keeps a second signal from ending what clears up after the first:
// Ctrl-C reaches this process from the terminal, and once more as the front end's
// SIGTERM. Who loses patience ends the front end, and the kernel this process.
func holdSignals() (stop func()) {
	held := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE} {
		if !signal.Ignored(s) {
			signal.Notify(held, s)
		}
	}
	return func() { signal.Stop(held) }
}

// statusBrokenPipe is the status that a shell reports for SIGPIPE.
const statusBrokenPipe = 128 + int(syscall.SIGPIPE)

// outPipe is standard output that notices when its reader is gone. SIGPIPE would end the
// process before it cleans up.
type outPipe struct {
	f      *os.File
	broken bool
}

func (o *outPipe) Write(b []byte) (int, error) {
	n, err := o.f.Write(b)
	o.broken = o.broken || errors.Is(err, syscall.EPIPE)
	return n, err
}

// brokenPipe reports whether a copy ended because its outPipe broke.
func brokenPipe(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == statusBrokenPipe
}

func serveInside(ctx context.Context, op string, reqF *os.File, out io.Writer, p storage.Progress) (any, error) {
	f := insideOps()[op]
	if f == nil {
		return nil, errs.New(errs.Invalid, "no operation %q", op)
	}
	req, err := io.ReadAll(reqF)
	if err != nil {
		return nil, err
	}
	e, err := openDefault(ctx)
	if err != nil {
		return nil, err
	}
	v, err := f(ctx, &insideCall{e, req, term.Interruptible(ctx, os.Stdin), out, p})
	if cerr := e.images.Close(); err == nil {
		err = cerr
	}
	return v, err
}

// openDefault is Open for hidden commands: the environment has the directories.
func openDefault(ctx context.Context) (*Engine, error) {
	d, _, err := dirs.Default()
	if err != nil {
		return nil, err
	}
	return Open(ctx, Options{Dirs: d})
}

// Internal runs a hidden command ("__inside OP", "__settle ID") that Proa
// starts of itself, some of them inside the user's namespace. handled is false
// where args name none; the front end then goes on as usual. main calls it
// before it parses anything else, and after storage.Reexec.
func Internal(ctx context.Context, args []string) (handled bool, err error) {
	if len(args) == 0 || !strings.HasPrefix(args[0], "__") {
		return false, nil
	}
	switch args[0] {
	case insideCommand:
		return true, runInside(ctx, args[1:])
	case settleCommand:
		return true, runSettle(ctx, args[1:])
	case unshareCommand:
		return true, runUnshare(args[1:])
	case netstackCommand:
		return true, netstack.Main(ctx, args[1:])
	}
	return false, nil
}

// removeTree deletes a directory with everything in it. What belongs to a
// subordinate id, only root of the namespace can delete.
func (e *Engine) removeTree(ctx context.Context, path string) error {
	err := rmtree.Remove(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return errs.Wrap(err, "remove", path)
	}
	// A removal that has begun must end, whoever lost patience.
	return e.inside(context.WithoutCancel(ctx), "rm", []string{path}, nil, nil, nil)
}

func opRemoveTrees(_ context.Context, c *insideCall) (any, error) {
	var paths []string
	if err := json.Unmarshal(c.request, &paths); err != nil {
		return nil, err
	}
	for _, p := range paths {
		if !strings.HasPrefix(p, c.e.dirs.Data+"/") {
			return nil, errs.New(errs.Invalid, "%s is not in %s", p, c.e.dirs.Data)
		}
		if err := rmtree.Remove(p); err != nil {
			return nil, errs.Wrap(err, "remove", p)
		}
	}
	return nil, nil
}
