// SPDX-License-Identifier: Apache-2.0

// Package process starts, watches and reaps the processes of a container, with
// libcontainer, and finds their pids as the host sees them.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// Process is one process in the container, the main one or an exec'd one, with
// our ends of its standard streams.
type Process struct {
	P     *libcontainer.Process
	Pid   int // as this pid namespace sees it
	pidfd *os.File

	Theirs  []*os.File // closed here once the process has them
	In      *os.File   // write end of its stdin; nil: none
	Out     *os.File
	Err     *os.File
	Master  *os.File // with a terminal, in place of the three
	console *os.File // our end of libcontainer's console socket

	Refused bool // with wait's return: the kernel did not execute its program
}

// Pipe makes a pipe whose end for the monitor is non-blocking, for the poller,
// and whose end for the container is not: programs do not expect EAGAIN.
func Pipe(oursReads bool) (ours, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	o, t := fds[0], fds[1]
	if !oursReads {
		o, t = t, o
	}
	if err := unix.SetNonblock(o, true); err != nil {
		unix.Close(o)
		unix.Close(t)
		return nil, nil, err
	}
	return os.NewFile(uintptr(o), "stdio"), os.NewFile(uintptr(t), "stdio"), nil
}

// Pipes connects the process with pipes, and with /dev/null where it has no
// input.
func (p *Process) Pipes(stdin bool) error {
	var in, out, er *os.File
	var err error
	if stdin {
		p.In, in, err = Pipe(false)
	} else {
		in, err = os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	}
	if err != nil {
		return err
	}
	p.Theirs = append(p.Theirs, in)
	if p.Out, out, err = Pipe(true); err != nil {
		return err
	}
	p.Theirs = append(p.Theirs, out)
	if p.Err, er, err = Pipe(true); err != nil {
		return err
	}
	p.Theirs = append(p.Theirs, er)
	p.P.Stdin, p.P.Stdout, p.P.Stderr = in, out, er
	return nil
}

// Terminal lets libcontainer make a pty inside the container and send its
// master over a socket.
func (p *Process) Terminal(rows, cols uint16) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	p.console = os.NewFile(uintptr(fds[0]), "console")
	theirs := os.NewFile(uintptr(fds[1]), "console")
	p.Theirs = append(p.Theirs, theirs)
	p.P.ConsoleSocket = theirs
	p.P.ConsoleHeight, p.P.ConsoleWidth = rows, cols
	return nil
}

// takeMaster receives the pty's master after the process was created.
func (p *Process) takeMaster() error {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, oobn, _, _, err := unix.Recvmsg(int(p.console.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC)
	p.console.Close()
	p.console = nil
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return errors.New("cannot receive the terminal from the container")
	}
	got, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(got) != 1 {
		return errors.New("cannot receive the terminal from the container")
	}
	if err := unix.SetNonblock(got[0], true); err != nil {
		return err
	}
	p.Master = os.NewFile(uintptr(got[0]), "ptmx")
	return nil
}

// Start creates the process in c. For the main process this stops short of
// running its program: c.Exec does that.
func (p *Process) Start(c *libcontainer.Container) error {
	var err error
	if p.P.Init {
		err = c.Start(p.P)
	} else {
		err = c.Run(p.P)
	}
	CloseFiles(p.Theirs...)
	p.Theirs = nil
	if err == nil && p.console != nil {
		err = p.takeMaster()
	}
	if err == nil {
		p.Pid, err = p.P.Pid()
	}
	if err != nil {
		p.Close()
		return err
	}
	fd, perr := unix.PidfdOpen(p.Pid, unix.PIDFD_NONBLOCK)
	if perr == nil {
		p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	}
	return nil
}

func (p *Process) Close() {
	CloseFiles(p.Theirs...)
	CloseFiles(p.In, p.Out, p.Err, p.Master, p.console, p.pidfd)
	p.Theirs = nil
}

func CloseFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// forkNoExec is PF_FORKNOEXEC: the process has not executed a program since it
// was forked.
const forkNoExec = 0x40

// Signal sends a signal to the process's program. For a moment after the start
// libcontainer's init, a Go program with handlers of its own, is still there:
// a SIGTERM then would end it with a status that nobody expects.
func (p *Process) Signal(sig int) error {
	for i := 0; sig != int(unix.SIGKILL) && i < 500 && p.executing(); i++ {
		time.Sleep(time.Millisecond)
	}
	return p.P.Signal(unix.Signal(sig))
}

// executing says that the process, dead or alive, is libcontainer's init still.
func (p *Process) executing() bool {
	f := rundir.StatFields(HostView{}.read(strconv.Itoa(p.Pid) + "/stat"))
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return err == nil && flags&forkNoExec != 0
}

// What libcontainer's init exits with when execve fails. It has printed the
// reason into the container's standard error then: nobody listens to it any more.
const initFailed = 255

// exited is CLD_EXITED.
const exited = 1

// Wait reaps the process. It waits in the poller: a thread that sleeps in
// waitid for each process would be the monitor's largest piece of memory.
func (p *Process) Wait() (code, signal int) {
	if p.pidfd != nil {
		var info unix.Siginfo
		if raw, err := p.pidfd.SyscallConn(); err == nil {
			_ = raw.Read(func(fd uintptr) bool {
				return !errors.Is(unix.Waitid(unix.P_PIDFD, int(fd), &info,
					unix.WEXITED|unix.WNOWAIT, nil), unix.EAGAIN)
			})
			p.Refused = info.Code == exited && siginfoStatus(&info) == initFailed && p.executing()
		}
		defer p.pidfd.Close()
	}
	st, _ := p.P.Wait()
	if st == nil {
		return 255, 0
	}
	ws, ok := st.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal()), int(ws.Signal())
	}
	return st.ExitCode(), 0
}

// BaseConfig completes the libcontainer configuration with what only the
// monitor knows.
func BaseConfig(cfg *monitor.Config, root string, netns *os.File) *configs.Config {
	c := cfg.Container
	c.Rootfs = root
	if cfg.Rootfs.ReadOnly {
		c.Readonlyfs = true
	}
	if netns != nil {
		c.Namespaces.Add(configs.NEWNET, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), netns.Fd()))
	} else {
		c.Namespaces.Remove(configs.NEWNET)
	}
	// The namespace is made, and its loopback interface up, before.
	c.Networks = nil
	addFileMounts(c, cfg.Files)
	return c
}

// addFileMounts mounts the generated files where the configuration does not
// name these places itself.
func addFileMounts(c *configs.Config, f monitor.Files) {
	for _, m := range []struct{ src, dst string }{
		{f.Hostname, "/etc/hostname"}, {f.Hosts, "/etc/hosts"}, {f.ResolvConf, "/etc/resolv.conf"},
	} {
		if m.src == "" || mounted(c, m.dst) {
			continue
		}
		c.Mounts = append(c.Mounts, &configs.Mount{
			Source: m.src, Destination: m.dst, Device: "bind",
			Flags: unix.MS_BIND | unix.MS_REC, PropagationFlags: []int{unix.MS_PRIVATE | unix.MS_REC},
		})
	}
}

func mounted(c *configs.Config, dst string) bool {
	for _, m := range c.Mounts {
		if m.Destination == dst {
			return true
		}
	}
	return false
}

// Capabilities are those that a user other than root starts with: the bounding
// set alone, as execve would leave it.
func Capabilities(c *configs.Capabilities, uid int) *configs.Capabilities {
	if c == nil || uid == 0 {
		return c
	}
	d := *c
	d.Effective, d.Permitted = d.Ambient, d.Ambient
	return &d
}

// OomKills reads how often the kernel's OOM killer struck in the cgroup.
func OomKills(c *libcontainer.Container) bool {
	st, err := c.State()
	if err != nil {
		return false
	}
	for _, probe := range []struct{ ctrl, file string }{{"", "memory.events"}, {"memory", "memory.oom_control"}} {
		dir := st.CgroupPaths[probe.ctrl]
		if dir == "" {
			continue
		}
		data, err := os.ReadFile(dir + "/" + probe.file)
		if err != nil {
			continue
		}
		if n, ok := field(string(data), "oom_kill"); ok && n > 0 {
			return true
		}
	}
	return false
}

func field(text, key string) (int, bool) {
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.Atoi(rest)
			return n, err == nil
		}
	}
	return 0, false
}

func (p *Process) NoStreams() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p.Theirs = append(p.Theirs, null)
	p.P.Stdin, p.P.Stdout, p.P.Stderr = null, null, null
	return nil
}
