// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// The end, in this order, so that whoever looks at any moment sees something
// true, and whoever dies at any moment leaves nothing that later commands
// cannot tell:
//
//	exit.json          the durable truth
//	network, log       addresses and ports are free, the log is whole
//	writable layer     AutoRemove only
//	RunDir, locks      from here on the container counts as ended
//	clients            get Exited; one of them may say that it settles the record
//	Settle             otherwise the command that does
//	slow clients       get what is left for them
func (s *supervisor) finish(e monitor.Exit) error {
	err := hit(FailpointExited)
	durability := atomicfile.Durable
	if s.cfg.AutoRemove {
		durability = atomicfile.Volatile // it will not outlive the next moment
	}
	write := func() error {
		return atomicfile.WriteJSON(filepath.Join(s.cfg.DataDir, rundir.ExitFile), &e, 0o600, durability)
	}
	// The container may have ended because it had filled the disk.
	if werr := ballast.Retry(filepath.Dir(filepath.Dir(s.cfg.DataDir)), write); err == nil {
		err = werr
	}
	if ferr := hit(FailpointExitWritten); err == nil {
		err = ferr
	}
	s.release()
	if s.cfg.AutoRemove {
		s.removeLayer()
		if ferr := hit(FailpointLayerRemoved); err == nil {
			err = ferr
		}
	}
	s.leave()
	if ferr := hit(FailpointUnlocked); err == nil {
		err = ferr
	}
	if !s.server.announce(e) {
		s.settle()
	}
	s.server.linger()
	return err
}

// release gives back everything that the container held.
func (s *supervisor) release() {
	if s.net != nil {
		<-s.net.done
		s.net.close()
	}
	if s.hub != nil {
		_ = s.hub.CloseLog()
	}
	s.root.Release()
}

// removeLayer deletes the writable layer, from under the mount that nobody uses
// any more. We are root in the user's namespace: files of any of its ids can
// go. A copy of the whole root (vfs) is the container's own if it lies in its
// directory.
func (s *supervisor) removeLayer() {
	r := s.cfg.Rootfs
	dirs := []string{r.Upper, r.Work}
	if r.Driver == "vfs" && strings.HasPrefix(r.Dir, s.cfg.DataDir+"/") {
		dirs = append(dirs, r.Dir)
	}
	for _, dir := range dirs {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
}

// leave removes the runtime directory and lets the locks go: from here on
// everybody sees a container without a monitor. The lock file goes while it is
// still held; rundir.Lock knows about that.
func (s *supervisor) leave() {
	s.runDir.mu.Lock()
	defer s.runDir.mu.Unlock()
	s.runDir.left = true
	if s.server != nil {
		s.server.close()
	}
	for _, name := range []string{rundir.SocketFile, rundir.StatusFile} {
		_ = os.Remove(filepath.Join(s.o.RunDir, name))
	}
	if s.cfg == nil {
		s.removeEmptyData()
	}
	_ = os.RemoveAll(s.o.RunDir)
	_ = s.in.hold.Close()
}

// removeEmptyData removes the data directory of a container whose front end died
// before it could make a record: nothing but the lock is in it, and no command
// would find it without the runtime directory.
func (s *supervisor) removeEmptyData() {
	if s.in.hold.Data == nil {
		return
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(s.in.hold.Data.Fd())))
	if err != nil {
		return
	}
	dir := filepath.Dir(path)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 1 {
		_ = os.Remove(path)
		_ = os.Remove(dir)
	}
}

// settleTime bounds the command that settles the record; what it leaves
// undone, the next command does.
const settleTime = 30 * time.Second

// settle runs the command that brings the database up to date. It has the
// environment of the front end that started the container.
func (s *supervisor) settle() {
	if len(s.cfg.Settle) == 0 {
		return
	}
	cmd := exec.Command(s.cfg.Settle[0], s.cfg.Settle[1:]...)
	cmd.Dir = "/"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GOMAXPROCS=") })
	s.reap.Begin()
	err := cmd.Start()
	if err != nil {
		s.reap.End(0)
		return
	}
	s.reap.End(cmd.Process.Pid)
	t := time.AfterFunc(settleTime, func() { _ = cmd.Process.Signal(unix.SIGKILL) })
	defer t.Stop()
	_ = cmd.Wait()
}
