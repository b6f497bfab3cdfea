// SPDX-License-Identifier: Apache-2.0

// Package dirs names every directory that Proa uses. docs/STATE.md lists what
// lies in each, who writes it and how long it lives.
package dirs

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/proa-containers/proa/pkg/errs"
)

// Dirs are the roots of one user's Proa.
type Dirs struct {
	Data string // survives a reboot: images, containers, volumes, the database
	Run  string // tmpfs: locks, sockets, what lives as long as a monitor
}

// Default finds the directories of the calling user and creates them with
// mode 0700. PROA_DATA_DIR and PROA_RUN_DIR override; then XDG_DATA_HOME and
// XDG_RUNTIME_DIR; real root uses /var/lib/proa and /run/proa. The paths have no
// symbolic links. The notices are sentences to show once: the run directory is a
// fallback, or a directory was closed to other users.
func Default() (d Dirs, notices []string, err error) {
	d.Data = os.Getenv("PROA_DATA_DIR")
	d.Run = os.Getenv("PROA_RUN_DIR")
	uid := os.Getuid()
	if d.Data == "" {
		switch {
		case uid == 0:
			d.Data = "/var/lib/proa"
		case os.Getenv("XDG_DATA_HOME") != "":
			d.Data = filepath.Join(os.Getenv("XDG_DATA_HOME"), "proa")
		case os.Getenv("HOME") != "":
			d.Data = filepath.Join(os.Getenv("HOME"), ".local/share/proa")
		default:
			return d, nil, errs.WithHint(errs.New(errs.Invalid, "cannot tell where to keep images: neither HOME nor XDG_DATA_HOME is set"),
				"set PROA_DATA_DIR to a directory of your own")
		}
	}
	if d.Run == "" {
		notice := ""
		if d.Run, notice = defaultRun(uid); notice != "" {
			notices = append(notices, notice)
		}
	}
	for _, p := range []struct {
		path *string
		own  []string
	}{{&d.Data, dataNames}, {&d.Run, runNames}} {
		if !filepath.IsAbs(*p.path) {
			return d, notices, errs.New(errs.Invalid, "directory %q is not absolute", *p.path)
		}
		real, notice, err := ensurePrivate(*p.path, uid, p.own)
		if err != nil {
			return d, notices, err
		}
		*p.path = real
		if notice != "" {
			notices = append(notices, notice)
		}
	}
	return d, notices, nil
}

func defaultRun(uid int) (string, string) {
	if uid == 0 {
		return "/run/proa", ""
	}
	if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" && owned(x, uid) {
		return filepath.Join(x, "proa"), ""
	}
	if x := fmt.Sprintf("/run/user/%d", uid); owned(x, uid) {
		return filepath.Join(x, "proa"), ""
	}
	p := filepath.Join("/tmp", fmt.Sprintf("proa-run-%d", uid))
	if _, err := os.Lstat(p); err == nil {
		return p, ""
	}
	return p, fmt.Sprintf("XDG_RUNTIME_DIR is not set; using %s for locks and sockets", p)
}

func owned(p string, uid int) bool {
	fi, err := os.Stat(p)
	if err != nil || !fi.IsDir() {
		return false
	}
	return int(fi.Sys().(*syscall.Stat_t).Uid) == uid
}

// DB is the state database.
func (d Dirs) DB() string { return filepath.Join(d.Data, "state.db") }

// Storage is the root of the image and layer store.
func (d Dirs) Storage() string { return filepath.Join(d.Data, "storage") }

// StorageRun is the store's volatile directory.
func (d Dirs) StorageRun() string { return filepath.Join(d.Run, "storage") }

// Artifacts is the store of OCI artifacts.
func (d Dirs) Artifacts() string { return filepath.Join(d.Data, "artifacts") }

// Volumes holds one directory per named volume.
func (d Dirs) Volumes() string { return filepath.Join(d.Data, "volumes") }

// Container is the durable directory of one container.
func (d Dirs) Container(id string) string { return filepath.Join(d.Data, "containers", id) }

// ContainerRun is the volatile directory of one container's monitor. It exists
// while the monitor lives, or until a later command clears it away.
func (d Dirs) ContainerRun(id string) string { return filepath.Join(d.Run, "c", id) }

// ContainersRun is the parent of every ContainerRun.
func (d Dirs) ContainersRun() string { return filepath.Join(d.Run, "c") }

// Mounts is where "proa mount" and "proa image mount" mount, in the mount
// namespace of their shell: always empty from outside.
func (d Dirs) Mounts() string { return filepath.Join(d.Run, "mnt") }

// Net is the volatile directory of the user's shared network.
func (d Dirs) Net() string { return filepath.Join(d.Run, "net") }
