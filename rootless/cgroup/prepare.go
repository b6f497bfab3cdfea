// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
)

// Prepare makes the place ready for the container id, whose monitor is process
// pid: the cgroup that it returns (relative to the mount point) can be given
// children that have limits. With Systemd that is a new scope, which goes when
// the last process in it ends; with Direct it is Parent. An empty path without
// an error stands for None. It is called by the front end, or by a build inside
// the user namespace.
//
//	proa-ID.scope (or the delegated unit)      subtree_control: +memory +pids ...
//	  supervisor/       the monitor             (no processes beside children)
//	  proa-ID/          the container           made by the monitor, with limits
func (p Place) Prepare(ctx context.Context, id string, pid int) (string, error) {
	switch {
	case p.Kind == None:
		return "", nil
	case p.Kind == Systemd:
		base, err := startScope(ctx, "proa-"+id+".scope", p.Parent, "Proa container "+id, pid)
		if err != nil {
			return "", err
		}
		return base, settle(Mount, base, p.Controllers)
	case p.V2 && p.Parent != "/proa":
		return p.Parent, settle(Mount, p.Parent, p.Controllers)
	}
	return p.Parent, nil
}

// Detach gives process pid, which serves containers of several units and
// sessions, a scope of its own where the user has a systemd manager: else the
// end of the one that happened to start it would be its end. It does nothing
// for root and where there is no manager.
func Detach(ctx context.Context, name string, pid int) error {
	uid := userns.UserID()
	if uid == 0 || !unified() || busSocket(uid) == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := startScope(ctx, "proa-"+name+"-"+strconv.Itoa(pid)+".scope", slice, "Proa "+name, pid)
	return err
}

// settle moves the processes of the delegated cgroup base into a leaf and
// hands its controllers on. Twice is the same as once.
func settle(mount, base string, controllers []string) error {
	dir := filepath.Join(mount, base)
	leaf := filepath.Join(dir, supervisor)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return errs.Wrap(err, "make cgroup", path.Join(base, supervisor))
	}
	var err error
	// Processes may fork while we move them: then the kernel says EBUSY.
	for range 10 {
		if err = moveAll(dir, leaf); err != nil {
			return errs.Wrap(err, "move processes into cgroup", path.Join(base, supervisor))
		}
		if err = handOn(dir, controllers); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return errs.Wrap(err, "delegate the controllers of cgroup", base)
}

func moveAll(from, to string) error {
	for _, pid := range words(filepath.Join(from, "cgroup.procs")) {
		if pid == "0" { // of another pid namespace: not ours to move
			continue
		}
		err := writeFile(filepath.Join(to, "cgroup.procs"), pid)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// handOn enables the controllers for the children of dir. One that is refused
// (cpu, where real-time processes are about) is left out, as long as it is not
// all of them.
func handOn(dir string, controllers []string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	have := words(file)
	var missing []string
	for _, c := range controllers {
		if !slices.Contains(have, c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err := writeFile(file, strings.Join(missing, " "))
	if err == nil || errors.Is(err, syscall.EBUSY) {
		return err
	}
	done := len(have)
	for _, c := range missing {
		if writeFile(file, c) == nil {
			done++
		}
	}
	if done > 0 {
		return nil
	}
	return err
}

func writeFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Remove removes the empty cgroups of the container id that a killed monitor
// has left below parent. What is not there, or still in use, is no error.
func (p Place) Remove(parent, id string) {
	roots := []string{Mount}
	if !p.V2 {
		// Every hierarchy below the mount point, the ones without controllers
		// too: systemd's own and, on a hybrid host, the unified one.
		roots, _ = filepath.Glob(filepath.Join(Mount, "*"))
	}
	for _, root := range roots {
		removeTree(filepath.Join(root, parent, "proa-"+id))
	}
}

func removeTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()))
		}
	}
	// What the kernel has just killed may not be gone yet.
	for range 50 {
		if syscall.Rmdir(dir) != syscall.EBUSY {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// pathOf is the v2 cgroup of a process.
func pathOf(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", err
	}
	return ownPath(data), nil
}
