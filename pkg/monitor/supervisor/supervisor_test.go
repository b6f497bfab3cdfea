// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

var ctx = context.Background()

func TestRun(t *testing.T) {
	b, e := run(t, []string{"echo", "hello"}, remove)
	if e.Code != 0 || b.out.String() != "hello\n" {
		t.Fatalf("exit %+v out %q err %q", e, b.out.String(), b.err.String())
	}
	b.gone()
	for _, p := range []string{b.cfg.Rootfs.Upper, b.cfg.Rootfs.Work} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", p)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name         string
		script       string
		code, signal int
	}{
		{"zero", "exit 0", 0, 0},
		{"own", "exit 7", 7, 0},
		{"255", "exit 255", 255, 0},
		{"signal of a child", "sh -c 'kill -9 $$'; exit $?", 137, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, e := run(t, []string{"sh", "-c", c.script})
			if e.Code != c.code || e.Signal != c.signal {
				t.Errorf("exit %+v", e)
			}
			b.gone()
			f, err := b.exitFile()
			if err != nil || f.Code != c.code || f.StartedAt.IsZero() || f.FinishedAt.Before(f.StartedAt) {
				t.Errorf("exit.json %+v: %v", f, err)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	manyIDs(t)
	b, _ := run(t, []string{"sh", "-c", "echo out; echo err >&2; echo more >/dev/stdout"}, asUser("web"))
	if b.out.String() != "out\nmore\n" || b.err.String() != "err\n" {
		t.Errorf("out %q err %q", b.out.String(), b.err.String())
	}
}

func TestEnvironmentAndUser(t *testing.T) {
	manyIDs(t)
	b, _ := run(t, []string{"sh", "-c", "id; echo $HOME $HOSTNAME; pwd; echo $PATH; hostname"}, asUser("web"),
		func(_ *monitor.Config, in *ocispec.Input) { in.Spec.Process.Dir = "/srv/deep/er" })
	want := "uid=33(web) gid=33(web) groups=33(web),44(log)\n/home/web box\n/srv/deep/er\n" +
		"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nbox\n"
	if b.out.String() != want {
		t.Errorf("out %q\nwant %q\nerr %q", b.out.String(), want, b.err.String())
	}
}

// The status has the health as soon as the front end is told that the process runs.
func TestHealthFromTheStart(t *testing.T) {
	for range 5 {
		b := newBox(t, []string{"sleep", "1000"}, func(cfg *monitor.Config, _ *ocispec.Input) {
			cfg.Health = &spec.Health{Test: []string{"CMD", "true"}, Interval: time.Hour}
		})
		b.mustStart()
		if st := b.status(); st.State != rundir.StateRunning || st.Health == nil || st.Health.Status != "starting" {
			t.Errorf("status %+v, health %+v", st.State, st.Health)
		}
		b.h.Kill()
	}
}

func TestFailedStarts(t *testing.T) {
	dir := func(d string) option {
		return func(_ *monitor.Config, in *ocispec.Input) { in.Spec.Process.Dir = d }
	}
	for _, c := range []struct {
		name string
		args []string
		opt  option
		kind errs.Kind
		text string
	}{
		{"missing", []string{"nope"}, remove, errs.CommandMissing, `exec: "nope": executable file not found in $PATH`},
		{"missing path", []string{"/bin/nope"}, remove, errs.CommandMissing, `exec: "/bin/nope": stat /bin/nope: no such file or directory`},
		{"not executable", []string{"/bin/notexec"}, remove, errs.CannotInvoke, `exec: "/bin/notexec": permission denied`},
		{"directory", []string{"/etc"}, remove, errs.CannotInvoke, `exec: "/etc": is a directory`},
		{"user", []string{"true"}, asUser("nobody-here"), errs.Invalid, "unable to find user nobody-here: no matching entries in passwd file"},
		{"group", []string{"true"}, asUser("web:nogroup-here"), errs.Invalid, "unable to find group nogroup-here: no matching entries in group file"},
		{"workdir", []string{"true"}, dir("/etc/passwd"), errs.Invalid, "Cannot mkdir: /etc/passwd is not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, c.args, c.opt)
			err := b.start()
			if errs.KindOf(err) != c.kind || err == nil || err.Error() != c.text {
				t.Errorf("%v: %v", errs.KindOf(err), err)
			}
			b.gone()
			if e, err := b.exitFile(); err != nil || e.Error != c.text || e.Code != max(errs.ExitCode(&errs.Error{Kind: c.kind}), 126) && e.Code != 128 {
				t.Errorf("exit.json %+v: %v", e, err)
			}
		})
	}
}

func TestCommandInVolume(t *testing.T) {
	src := t.TempDir()
	_ = os.Chmod(src, 0o755)
	if err := os.WriteFile(filepath.Join(src, "tool"), []byte("#!/bin/sh\necho from the volume\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	bind := func(_ *monitor.Config, in *ocispec.Input) {
		in.Mounts = []spec.Mount{{Type: spec.MountBind, Source: src, Target: "/app"}}
	}
	b, e := run(t, []string{"/app/tool"}, bind)
	if e.Code != 0 || b.out.String() != "from the volume\n" {
		t.Errorf("exit %+v out %q err %q", e, b.out.String(), b.err.String())
	}
	if err := newBox(t, []string{"/app/none"}, bind).start(); errs.KindOf(err) != errs.CommandMissing {
		t.Errorf("%v", err)
	}
}

func TestStdin(t *testing.T) {
	b := newBox(t, []string{"wc", "-c"}, foreground, interactive)
	b.mustStart()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: more than every buffer between
	if _, err := b.att.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := b.att.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	if e := b.end(); e.Code != 0 || strings.TrimSpace(b.out.String()) != "1048576" {
		t.Errorf("exit %+v out %q", e, b.out.String())
	}
}

// TestEarlyStdin: input that was sent, and ended, before the start arrives.
func TestEarlyStdin(t *testing.T) {
	b := newBox(t, []string{"cat"}, foreground, interactive)
	b.env = []string{"PROA_FAILPOINT=monitor.created=sleep:100ms"}
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	if err := b.attach(); err != nil {
		t.Fatal(err)
	}
	_, _ = b.att.Write([]byte("early"))
	_ = b.att.CloseStdin()
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if e := b.end(); e.Code != 0 || b.out.String() != "early" {
		t.Errorf("exit %+v out %q", e, b.out.String())
	}
}

func TestNoStdinIsEmpty(t *testing.T) {
	if b, e := run(t, []string{"cat"}); e.Code != 0 || b.out.String() != "" {
		t.Errorf("exit %+v out %q", e, b.out.String())
	}
}

func TestStdinOnceClientLeaves(t *testing.T) {
	b := newBox(t, []string{"sh", "-c", "cat >/dev/null; exit 3"}, interactive)
	b.mustStart()
	a, err := b.dial().Attach(monitor.AttachRequest{Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = a.Write([]byte("x"))
	time.Sleep(50 * time.Millisecond)
	a.Close()
	eventually(t, "the end", func() bool { e, err := b.exitFile(); return err == nil && e.Code == 3 })
	b.gone()
}

func TestTerminal(t *testing.T) {
	b := newBox(t, []string{"sh", "-c", "tty; stty size; read x; stty size; echo got $x"}, foreground, terminal,
		func(_ *monitor.Config, in *ocispec.Input) {})
	b.rows, b.cols = 33, 101
	b.mustStart()
	eventually(t, "the first size", func() bool { return strings.Contains(b.out.String(), "33 101") })
	if err := b.att.Resize(44, 122); err != nil {
		t.Fatal(err)
	}
	_, _ = b.att.Write([]byte("line\n"))
	e := b.end()
	want := "/dev/pts/0\r\n33 101\r\nline\r\n44 122\r\ngot line\r\n"
	if e.Code != 0 || b.out.String() != want {
		t.Errorf("exit %+v out %q", e, b.out.String())
	}
}

func TestTerminalInterrupt(t *testing.T) {
	b := newBox(t, []string{"sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"}, foreground, terminal)
	b.mustStart()
	eventually(t, "ready", func() bool { return strings.Contains(b.out.String(), "ready") })
	_, _ = b.att.Write([]byte{3})
	if e := b.end(); e.Code != 9 || !strings.Contains(b.out.String(), "caught") {
		t.Errorf("exit %+v out %q", e, b.out.String())
	}
}

func TestExec(t *testing.T) {
	manyIDs(t)
	b := newBox(t, []string{"sleep", "100"}, asUser("web"))
	b.mustStart()
	if out, code := b.exec("sh", "-c", "id -u; echo $HOME; exit 5"); code != 5 || out != "33\n/home/web\n" {
		t.Errorf("code %d out %q", code, out)
	}
	out, code, err := b.tryExec(monitor.ExecRequest{Args: []string{"sh", "-c", "id -u; pwd; echo $A"}, User: "root", Dir: "/tmp", Env: []string{"A=b"}})
	if err != nil || code != 0 || out != "0\n/tmp\nb\n" {
		t.Errorf("code %d out %q: %v", code, out, err)
	}
	for _, c := range []struct {
		cmd  string
		kind errs.Kind
		text string
	}{
		{"nope", errs.CommandMissing, `exec: "nope": executable file not found in $PATH`},
		{"/etc", errs.CannotInvoke, `exec: "/etc": is a directory`},
	} {
		if _, _, err := b.tryExec(monitor.ExecRequest{Args: []string{c.cmd}}); errs.KindOf(err) != c.kind || err.Error() != c.text {
			t.Errorf("%s: %v", c.cmd, err)
		}
	}
}

func TestExecTerminal(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	s, err := b.dial().Exec(ctx, monitor.ExecRequest{Args: []string{"sh", "-c", "stty size; read x; stty size; exit 4"}, TTY: true, Rows: 30, Cols: 90}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := unix.IoctlSetWinsize(int(s.Master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 91}); err != nil {
		t.Fatal(err)
	}
	_, _ = s.Master.Write([]byte("\n"))
	out, _ := io.ReadAll(s.Master) // ends with EIO
	code, err := s.Wait(ctx)
	if err != nil || code != 4 || !strings.Contains(string(out), "31 91") {
		t.Errorf("code %d out %q: %v", code, out, err)
	}
}

func TestExecSignalAndDetach(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	s, err := b.dial().Exec(ctx, monitor.ExecRequest{Args: []string{"sleep", "50"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(int(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if code, err := s.Wait(ctx); err != nil || code != 143 {
		t.Errorf("code %d: %v", code, err)
	}
	s.Close()
	if s, err = b.dial().Exec(ctx, monitor.ExecRequest{Args: []string{"sleep", "49"}}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	time.Sleep(50 * time.Millisecond)
	if out, _ := b.exec("ps"); !strings.Contains(out, "sleep 49") {
		t.Errorf("a detached exec did not live on: %s", out)
	}
}

func TestStopAndKill(t *testing.T) {
	trap := []string{"sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"}
	t.Run("obeys", func(t *testing.T) {
		b := newBox(t, trap)
		b.mustStart()
		time.Sleep(100 * time.Millisecond)
		e, err := b.dial().Stop(ctx, 0, nil, true)
		if err != nil || e.Code != 3 || !e.StoppedByUser {
			t.Errorf("%+v: %v", e, err)
		}
		b.gone()
	})
	t.Run("killed after the time", func(t *testing.T) {
		b := newBox(t, []string{"sleep", "100"}) // pid 1 ignores what it does not handle
		b.mustStart()
		one := 1
		begin := time.Now()
		e, err := b.dial().Stop(ctx, 0, &one, true)
		if d := time.Since(begin); err != nil || e.Code != 137 || e.Signal != 9 || d < time.Second || d > 5*time.Second {
			t.Errorf("%+v after %v: %v", e, d, err)
		}
	})
	t.Run("kill", func(t *testing.T) {
		b := newBox(t, []string{"sleep", "100"})
		b.mustStart()
		waited := make(chan monitor.Exit, 3)
		for range 3 {
			c := b.dial()
			go func() { e, _ := c.Wait(ctx, false); waited <- e }()
		}
		time.Sleep(50 * time.Millisecond)
		if err := b.dial().Signal(ctx, int(syscall.SIGKILL)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if e := <-waited; e.Code != 137 {
				t.Errorf("%+v", e)
			}
		}
		b.gone()
		if _, err := client.Dial(b.cfg.RunDir); !errs.Is(err, errs.State) {
			t.Errorf("%v", err)
		}
	})
}

func TestRestartPolicies(t *testing.T) {
	policy := func(name string, n int) option {
		return func(c *monitor.Config, _ *ocispec.Input) { c.Restart = spec.Restart{Name: name, MaxRetries: n} }
	}
	count := []string{"sh", "-c", "echo x; exit 1"}
	t.Run("on-failure:2", func(t *testing.T) {
		b, e := run(t, count, policy("on-failure", 2))
		if b.out.String() != "x\nx\nx\n" || e.Code != 1 || e.RestartCount != 2 {
			t.Errorf("%+v out %q", e, b.out.String())
		}
	})
	t.Run("on-failure after success", func(t *testing.T) {
		if b, e := run(t, []string{"echo", "x"}, policy("on-failure", 0)); b.out.String() != "x\n" || e.RestartCount != 0 {
			t.Errorf("%+v out %q", e, b.out.String())
		}
	})
	t.Run("always until stopped", func(t *testing.T) {
		b := newBox(t, []string{"sh", "-c", "echo x"}, policy("always", 0), foreground)
		b.mustStart()
		eventually(t, "three runs", func() bool { return strings.Count(b.out.String(), "x") >= 3 })
		eventually(t, "between two runs", func() bool { return b.status().State == rundir.StateRestarting })
		if e, err := b.dial().Stop(ctx, 0, nil, false); err != nil || !e.StoppedByUser || e.RestartCount < 2 {
			t.Errorf("%+v: %v", e, err)
		}
		b.end()
		b.gone()
	})
	t.Run("kill of always", func(t *testing.T) {
		b := newBox(t, []string{"sleep", "100"}, policy("unless-stopped", 0))
		b.mustStart()
		first := b.status()
		// A crash brings it back, docker kill does not.
		if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "restarted", func() bool {
			st := b.status()
			return st.State == rundir.StateRunning && st.PID != first.PID && st.RestartCount == 1
		})
		if err := b.dial().Signal(ctx, 9); err != nil {
			t.Fatal(err)
		}
		b.gone()
		if e, err := b.exitFile(); err != nil || !e.StoppedByUser {
			t.Errorf("%+v: %v", e, err)
		}
	})
}

// TestMonitorKilled: the process has changed its uid, so nothing but the pid
// namespace ties it to the monitor.
func TestMonitorKilled(t *testing.T) {
	manyIDs(t)
	b := newBox(t, []string{"sleep", "100"}, asUser("web"))
	b.mustStart()
	if s, err := b.dial().Exec(ctx, monitor.ExecRequest{Args: []string{"sleep", "99"}}, nil); err != nil {
		t.Fatal(err)
	} else {
		defer s.Close()
	}
	st := b.status()
	if !alive(st.PID) || !alive(st.MonitorPID) || !rundir.Alive(b.paths()) {
		t.Fatalf("not running: %+v", st)
	}
	if err := syscall.Kill(st.MonitorPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process dies", func() bool { return !alive(st.PID) })
	eventually(t, "the lock is free", func() bool { return !rundir.Alive(b.paths()) })
	if _, err := client.Dial(b.cfg.RunDir); !errs.Is(err, errs.State) {
		t.Errorf("dial: %v", err)
	}
	if ok, err := rundir.Clear(b.paths()); !ok || err != nil {
		t.Errorf("clear: %v %v", ok, err)
	}
	b.gone()
}

func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

func TestNothingInherited(t *testing.T) {
	fds := []string{"sh", "-c", "ls /proc/self/fd; sleep 100"}
	b := newBox(t, fds, foreground)
	b.mustStart()
	// ls has its own descriptor of the directory.
	eventually(t, "the list", func() bool { return strings.Count(b.out.String(), "\n") >= 4 })
	if b.out.String() != "0\n1\n2\n3\n" {
		t.Errorf("main process has %q", b.out.String())
	}
	if out, _ := b.exec("ls", "/proc/self/fd"); out != "0\n1\n2\n3\n" {
		t.Errorf("exec has %q", out)
	}
	host, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.status().PID))
	if err == nil && len(host) != 3 {
		t.Errorf("main process has %v", host)
	}
}

func TestHundredMegabytes(t *testing.T) {
	const size = 100 << 20
	b := newBox(t, []string{"sh", "-c", "head -c 104857600 /dev/zero; echo end >&2"}, foreground)
	b.mustStart()
	if e := b.end(); e.Code != 0 || len(b.out.String()) != size || b.err.String() != "end\n" {
		t.Errorf("exit %+v, %d bytes, err %q", e, len(b.out.String()), b.err.String())
	}
}

// TestSlowAndDeadClients: a slow client gets everything, a dead one does not
// hold the container up.
func TestSlowAndDeadClients(t *testing.T) {
	b := newBox(t, []string{"sh", "-c", "read x; head -c 4000000 /dev/zero; echo done >&2"}, interactive, foreground)
	b.mustStart()
	dead, err := b.dial().Attach(monitor.AttachRequest{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	slow, err := b.dial().Attach(monitor.AttachRequest{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	_, _ = b.att.Write([]byte("go\n"))
	time.Sleep(50 * time.Millisecond)
	dead.Close()
	got := &slowWriter{}
	if _, err := slow.Copy(got, nil); err != nil {
		t.Fatal(err)
	}
	slow.Close()
	if got.n != 4000000 {
		t.Errorf("the slow client got %d bytes", got.n)
	}
	if e := b.end(); e.Code != 0 || len(b.out.String()) != 4000000 {
		t.Errorf("exit %+v, %d bytes", e, len(b.out.String()))
	}
}

type slowWriter struct{ n int }

func (s *slowWriter) Write(p []byte) (int, error) {
	if s.n == 0 {
		time.Sleep(300 * time.Millisecond)
	}
	s.n += len(p)
	return len(p), nil
}

func TestVolumeCopyUp(t *testing.T) {
	dir := t.TempDir()
	vol := filepath.Join(dir, "_data")
	if err := os.Mkdir(vol, 0o755); err != nil {
		t.Fatal(err)
	}
	opt := func(c *monitor.Config, in *ocispec.Input) {
		in.Mounts = []spec.Mount{{Type: spec.MountVolume, Source: vol, Target: "/data"}}
		c.Volumes = []monitor.VolumeMount{{Dir: dir, HostPath: vol, Target: "/data", CopyUp: true}}
	}
	if b, e := run(t, []string{"sh", "-c", "cat /data/sub/file; echo changed >/data/sub/file"}, opt); e.Code != 0 || b.out.String() != "from the image\n" {
		t.Errorf("exit %+v out %q err %q", e, b.out.String(), b.err.String())
	}
	if b, _ := run(t, []string{"cat", "/data/sub/file"}, opt); b.out.String() != "changed\n" {
		t.Errorf("a volume in use was filled again: %q", b.out.String())
	}
}

// TestVolumeSubpath: where the path of a mount leads does not count. Another
// container made it lead to a directory of the host after it was looked at.
func TestVolumeSubpath(t *testing.T) {
	vol, host := t.TempDir(), t.TempDir()
	_ = os.Chmod(host, 0o777)
	for p, text := range map[string]string{vol + "/a/dir/f": "dir", vol + "/a/file": "file", host + "/f": "host"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	opt := func(c *monitor.Config, in *ocispec.Input) {
		in.Mounts = []spec.Mount{
			{Type: spec.MountVolume, Source: host, Target: "/data/"}, {Type: spec.MountTmpfs, Target: "/data/made"},
			{Type: spec.MountVolume, Source: host + "/f", Target: "/one"},
		}
		c.Volumes = []monitor.VolumeMount{
			{Dir: filepath.Dir(vol), HostPath: vol, Target: "/data/", Subpath: "a/dir"},
			{Dir: filepath.Dir(vol), HostPath: vol, Target: "/one", Subpath: "a/file"},
		}
	}
	b, e := run(t, []string{"sh", "-c", "cat /data/f /one; echo back >/data/back; ls /data"}, opt)
	if want := "dir\nfile\nback\nf\nmade\n"; e.Code != 0 || b.out.String() != want {
		t.Errorf("exit %+v out %q err %q", e, b.out.String(), b.err.String())
	}
	if text, err := os.ReadFile(vol + "/a/dir/back"); err != nil || string(text) != "back\n" {
		t.Errorf("%q %v", text, err)
	}
	if made, err := os.ReadDir(host); err != nil || len(made) != 1 {
		t.Errorf("made in the host's directory: %v %v", made, err)
	}
	// A part that leads out of the volume, or that is missing, is refused.
	if err := os.Symlink(host, vol+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"link", "none"} {
		b := newBox(t, []string{"true"}, opt, func(c *monitor.Config, _ *ocispec.Input) { c.Volumes[0].Subpath = sub })
		if err := b.start(); err == nil {
			t.Errorf("%s: started", sub)
		}
		b.gone()
	}
}

func TestGeneratedFiles(t *testing.T) {
	b, _ := run(t, []string{"sh", "-c", "cat /etc/hostname; cat /etc/hosts; ip addr show lo | head -1"})
	out := b.out.String()
	for _, want := range []string{"box\n", "127.0.0.1\tlocalhost\n", "127.0.0.1\tbox\n", "<LOOPBACK,UP"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}

func TestPauseRefusedWithoutCgroup(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	err := b.dial().Pause(ctx)
	if err == nil {
		if err := b.dial().Unpause(ctx); err != nil {
			t.Error(err)
		}
		return
	}
	if !errs.Is(err, errs.Unsupported) || errs.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

func TestSettleCommand(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "settled")
	opt := func(c *monitor.Config, _ *ocispec.Input) {
		c.Settle = []string{"/bin/sh", "-c", "echo $PROA_TEST_WORD > " + mark}
	}
	b := newBox(t, []string{"true"}, opt)
	b.env = []string{"PROA_TEST_WORD=word"}
	b.mustStart()
	eventually(t, "settled", func() bool { data, _ := os.ReadFile(mark); return string(data) == "word\n" })
	// A foreground client that settles itself makes it unnecessary.
	os.Remove(mark)
	fg, _ := run(t, []string{"true"}, opt)
	fg.gone()
	time.Sleep(100 * time.Millisecond)
	if _, err := os.Lstat(mark); err == nil {
		t.Error("settled twice")
	}
}

func TestFrontEndGone(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.env = []string{"PROA_FAILPOINT=monitor.mounted=sleep:200ms"}
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	pid, err := b.h.PID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.h.Close()
	eventually(t, "the monitor gives up", func() bool { return !alive(pid) })
	b.gone()
}

func TestLaunchCanceled(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.env = []string{"PROA_FAILPOINT=monitor.mounted=sleep:10s"}
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := b.h.Ready(c); !errs.Is(err, errs.Timeout) {
		t.Errorf("%v", err)
	}
	eventually(t, "the monitor dies", func() bool { return !rundir.Alive(b.paths()) })
}

func TestSecondStartRefused(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	if _, err := rundir.Lock(b.paths()); !errs.Is(err, errs.State) {
		t.Errorf("%v", err)
	}
}

func TestTermStopsMonitor(t *testing.T) {
	b := newBox(t, []string{"sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.05; done"},
		func(c *monitor.Config, _ *ocispec.Input) { c.Restart.Name = "always" })
	b.mustStart()
	time.Sleep(100 * time.Millisecond)
	if err := syscall.Kill(b.status().MonitorPID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.gone()
	if e, err := b.exitFile(); err != nil || e.Code != 6 || e.StoppedByUser {
		t.Errorf("%+v: %v", e, err)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	for i := range 5 {
		// The shell ends at once, its child later.
		b.exec("sh", "-c", fmt.Sprintf("sleep 0.%d &", i+1))
	}
	time.Sleep(700 * time.Millisecond)
	kids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", b.status().MonitorPID))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(kids))); n > 1 {
		t.Errorf("the monitor has children %q", kids)
	}
}

func TestSingleID(t *testing.T) {
	if !singleID(t) {
		t.Skip("this user has subordinate ids")
	}
	err := newBox(t, []string{"true"}, asUser("web")).start()
	if !errs.Is(err, errs.Unsupported) || errs.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestMemoryAfterExec: what a burst of exec leaves in memory is given back.
func TestMemoryAfterExec(t *testing.T) {
	b := newBox(t, []string{"sleep", "1000"})
	b.mustStart()
	time.Sleep(time.Second)
	_, before := memory(t, b.status())
	for range 20 {
		b.exec("true")
	}
	var after int
	eventually(t, "the memory comes back", func() bool {
		_, after = memory(t, b.status())
		return after < before+1024
	})
	t.Logf("private dirty KiB: %d before, %d after", before, after)
}
