// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/rootless/userns"
)

// These tests run the real proa-monitor, as whatever user runs the tests, on a
// root file system of one static busybox.
//
//	PROA_TEST_MONITOR  the binary to test; empty: it is built
//	PROA_TEST_BUSYBOX  the busybox; empty: /bin/busybox

var (
	program string // of the monitor
	layer   string // the read-only layer
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "proa-supervisor-")
	if err == nil {
		if err = prepare(dir); err == nil {
			code := m.Run()
			cleanTree(dir)
			os.Exit(code)
		}
	}
	fmt.Fprintln(os.Stderr, "cannot prepare the tests:", err)
	os.Exit(1)
}

func prepare(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	program = os.Getenv("PROA_TEST_MONITOR")
	if program == "" {
		program = filepath.Join(dir, monitor.Program)
		out, err := exec.Command("go", "build", "-o", program, "../../../cmd/proa-monitor").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	layer = filepath.Join(dir, "layer")
	return makeLayer(layer)
}

func makeLayer(dir string) error {
	busybox := os.Getenv("PROA_TEST_BUSYBOX")
	if busybox == "" {
		busybox = "/bin/busybox"
	}
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/web", "data/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	files := map[string]string{
		"bin/busybox": string(bin), "bin/notexec": "x",
		"etc/passwd":    "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n",
		"etc/group":     "root:x:0:\nweb:x:33:\nlog:x:44:web\n",
		"data/sub/file": "from the image\n",
	}
	for name, text := range files {
		mode := os.FileMode(0o644)
		if name == "bin/busybox" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			return err
		}
	}
	for _, a := range strings.Fields("sh true false echo cat sleep id ls env stty head dd wc kill ps mkdir pwd hostname tty test seq touch stat yes usleep od ip chmod") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	return nil
}

// cleanTree removes what containers left, some of it owned by other ids.
func cleanTree(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = exec.Command("unshare", "-r", "rm", "-rf", dir).Run()
}

// paths are the container's directories.
func (b *box) paths() rundir.Paths { return rundir.Paths{Run: b.cfg.RunDir, Data: b.cfg.DataDir} }

// box is one container under test.
type box struct {
	t       testing.TB
	base    string // PROA_RUN_DIR
	cfg     *monitor.Config
	env     []string
	h       *client.Handle
	att     *client.Attachment
	out     lockedBuffer
	err     lockedBuffer
	copied  chan struct{}
	exit    monitor.Exit
	copyErr error
	rows    uint16 // of the attaching terminal
	cols    uint16
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type option func(*monitor.Config, *ocispec.Input)

// newBox makes the configuration of a container that runs args.
func newBox(t testing.TB, args []string, opts ...option) *box {
	t.Helper()
	return newBoxIn(t, tempBase(t), args, opts...)
}

// tempBase is a place for the directories of one user's containers.
func tempBase(t testing.TB) string {
	t.Helper()
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cleanTree(base) })
	return base
}

// newBoxIn makes one that shares its user namespace with others in base.
func newBoxIn(t testing.TB, base string, args []string, opts ...option) *box {
	t.Helper()
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	data, run := filepath.Join(base, "data", id), filepath.Join(runBase(t, base), "c", id)
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(base, "files")
	cfg := &monitor.Config{
		ID: id, Name: "box", DataDir: data, RunDir: run,
		Rootfs: spec.Rootfs{Driver: "overlay", Lowers: []string{layer},
			Upper: filepath.Join(data, "upper"), Work: filepath.Join(data, "work")},
		Network: spec.NetworkPlan{Mode: spec.NetNone, ID: id, Name: "box"},
		Files: monitor.Files{Dir: files, Hostname: files + "/hostname", Hosts: files + "/hosts",
			ResolvConf: files + "/resolv.conf", Host: "box"},
		StopSignal: "SIGTERM", StopTimeout: 10, Logging: spec.Logging{Driver: "none"},
	}
	in := &ocispec.Input{ID: id, Host: ocispec.ProbeHost(ocispec.Probe{}),
		Files: ocispec.Files{Hostname: cfg.Files.Hostname, Hosts: cfg.Files.Hosts, ResolvConf: cfg.Files.ResolvConf}}
	in.Spec.Process.Args = args
	in.Spec.Process.Hostname = "box"
	in.Spec.Network.Mode = spec.NetNone
	if os.Getuid() != 0 {
		m, _, err := userns.LookupMapping()
		if err != nil {
			t.Fatal(err)
		}
		in.Host.Rootless, in.Host.UIDs, in.Host.GIDs = true, m.UIDs, m.GIDs
	}
	for _, o := range opts {
		o(cfg, in)
	}
	out, err := ocispec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Container = out.Config
	cfg.Process = monitor.Process(out.Process)
	return &box{t: t, base: runBase(t, base), cfg: cfg}
}

// runBase is on tmpfs where there is one to use, as a runtime directory is.
func runBase(t testing.TB, base string) string {
	t.Helper()
	if os.Getuid() == 0 {
		return filepath.Join(base, "run")
	}
	dir := filepath.Join("/dev/shm", fmt.Sprintf("proa-test-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(base))))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return filepath.Join(base, "run")
	}
	t.Cleanup(func() { cleanTree(dir) })
	return dir
}

// start launches the monitor and waits until the process runs.
func (b *box) start() error {
	b.t.Helper()
	if err := b.launch(); err != nil {
		return err
	}
	if err := b.attach(); err != nil {
		return err
	}
	return b.ready()
}

func (b *box) launch() error {
	b.t.Helper()
	if err := os.MkdirAll(b.base, 0o700); err != nil {
		b.t.Fatal(err)
	}
	ns, err := userns.Acquire(context.Background(), b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	lock, err := rundir.Lock(b.paths())
	if err != nil {
		ns.Close()
		return err
	}
	defer lock.Close()
	b.h, err = client.Launch(context.Background(), client.LaunchOptions{
		RunDir: b.cfg.RunDir, Hold: lock, Attach: b.cfg.WaitAttach, Program: program, Env: b.env,
		Start: func(c *exec.Cmd) (func(context.Context) (int, error), error) {
			child, err := ns.Start(c, userns.Options{NewPID: true})
			if err != nil {
				return nil, err
			}
			return child.Ready, nil
		},
	})
	if err != nil {
		ns.Close()
		return err
	}
	b.t.Cleanup(func() { b.h.Kill(); b.h.Close(); ns.Close() })
	return b.h.Send(b.cfg)
}

// attach subscribes a foreground run to its streams.
func (b *box) attach() error {
	b.t.Helper()
	if !b.cfg.WaitAttach {
		return nil
	}
	att, err := b.h.Attach(monitor.AttachRequest{Stdin: b.cfg.Process.OpenStdin, Stdout: true, Stderr: true, Rows: b.rows, Cols: b.cols})
	if err != nil {
		return err
	}
	att.SettlesRecord = true
	b.att, b.copied = att, make(chan struct{})
	go func() {
		defer close(b.copied)
		b.exit, b.copyErr = att.Copy(&b.out, &b.err)
		att.Close()
	}()
	return nil
}

func (b *box) ready() error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := b.h.Ready(ctx)
	if err == nil {
		b.h.Close()
	}
	return err
}

func (b *box) mustStart() {
	b.t.Helper()
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the end of a foreground run.
func (b *box) end() monitor.Exit {
	b.t.Helper()
	select {
	case <-b.copied:
	case <-time.After(30 * time.Second):
		b.t.Fatalf("the container does not end; out %q err %q", b.out.String(), b.err.String())
	}
	if b.copyErr != nil {
		b.t.Fatal(b.copyErr)
	}
	return b.exit
}

// run is a whole foreground run.
func run(t testing.TB, args []string, opts ...option) (*box, monitor.Exit) {
	t.Helper()
	b := newBox(t, args, append(opts, foreground)...)
	b.mustStart()
	return b, b.end()
}

func foreground(c *monitor.Config, _ *ocispec.Input) { c.WaitAttach = true }

func remove(c *monitor.Config, _ *ocispec.Input) { c.AutoRemove = true }

func interactive(_ *monitor.Config, in *ocispec.Input) {
	in.Spec.Process.OpenStdin, in.Spec.Process.StdinOnce = true, true
}

func terminal(_ *monitor.Config, in *ocispec.Input) {
	in.Spec.Process.OpenStdin, in.Spec.Process.TTY = true, true
}

func asUser(u string) option {
	return func(_ *monitor.Config, in *ocispec.Input) { in.Spec.Process.User = u }
}

func singleID(t testing.TB) bool {
	m, _, err := userns.LookupMapping()
	if err != nil {
		t.Fatal(err)
	}
	return os.Getuid() != 0 && m.Single
}

// manyIDs skips a test that changes its uid where there is none to change to.
func manyIDs(t testing.TB) {
	t.Helper()
	if singleID(t) {
		t.Skip("no subordinate ids")
	}
}

func (b *box) dial() *client.Client {
	b.t.Helper()
	c, err := client.Dial(b.cfg.RunDir)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// exec runs a command in the container and returns its output and status.
func (b *box) exec(args ...string) (string, int) {
	b.t.Helper()
	out, code, err := b.tryExec(monitor.ExecRequest{Args: args})
	if err != nil {
		b.t.Fatal(err)
	}
	return out, code
}

func (b *box) tryExec(r monitor.ExecRequest) (string, int, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pr, pw, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	null, _ := os.Open(os.DevNull)
	s, err := b.dial().Exec(ctx, r, &[3]*os.File{null, pw, pw})
	pw.Close()
	null.Close()
	defer pr.Close()
	if err != nil {
		return "", 0, err
	}
	defer s.Close()
	out, _ := io.ReadAll(pr)
	code, err := s.Wait(ctx)
	return string(out), code, err
}

func (b *box) exitFile() (monitor.Exit, error) {
	var e monitor.Exit
	data, err := os.ReadFile(filepath.Join(b.cfg.DataDir, rundir.ExitFile))
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(data, &e)
}

func (b *box) status() monitor.Status {
	b.t.Helper()
	var st monitor.Status
	data, err := os.ReadFile(filepath.Join(b.cfg.RunDir, rundir.StatusFile))
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 15 s", what)
}

// gone checks that nothing of the monitor is left.
func (b *box) gone() {
	b.t.Helper()
	eventually(b.t, "the runtime directory goes", func() bool {
		_, err := os.Lstat(b.cfg.RunDir)
		return errors.Is(err, os.ErrNotExist)
	})
	// The locks go after the directory, in the same moment.
	eventually(b.t, "the monitor no longer counts as alive", func() bool { return !rundir.Alive(b.paths()) })
}
