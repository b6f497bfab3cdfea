// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// graph is the lazily opened containers/storage.
type graph struct {
	mu    sync.Mutex
	store storage.Store
}

// open opens the layer store for writing; only inside the user's namespace.
func (s *Store) open() (storage.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	if os.Geteuid() != 0 {
		return nil, errs.New(errs.Internal, "the image store was opened for writing outside of the user's namespace")
	}
	st, err := s.openDriver()
	if rmtree.TooDeep(err) {
		if err = s.clearDeleted(); err == nil {
			st, err = s.openDriver()
		}
	}
	if err != nil {
		return nil, &errs.Error{Op: "open the image store", Object: s.root, Err: err}
	}
	s.store = ownFiles{st, s}
	return s.store, nil
}

func (s *Store) openDriver() (storage.Store, error) {
	o := storage.StoreOptions{
		GraphRoot: s.root, RunRoot: s.run, GraphDriverName: "overlay",
		// The monitors mount for themselves, so the home directory needs no
		// mount of its own.
		GraphDriverOptions: []string{"overlay.skip_mount_home=true"},
		PullOptions:        map[string]string{"enable_partial_images": "false"},
	}
	if singleID() {
		o.GraphDriverOptions = append(o.GraphDriverOptions, "overlay.ignore_chown_errors=true")
	}
	// The library reports what it repairs; only failures concern the user, and
	// those come back as errors.
	logrus.SetLevel(logrus.ErrorLevel)
	// Layers keep the ids of this namespace. The test for id-mapped mounts would
	// fork a process that inherits our locks and outlives us when we are killed.
	_ = os.Setenv("_CONTAINERS_OVERLAY_DISABLE_IDMAP", "yes")
	// It would read the user's storage.conf, which is about another store, and
	// fail over a run-time directory that is not there.
	_ = os.Setenv("CONTAINERS_STORAGE_CONF", os.DevNull)
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		if _, err := os.Stat(run); err != nil {
			_ = os.Unsetenv("XDG_RUNTIME_DIR")
		}
	}
	if s.Driver() != "vfs" {
		st, err := storage.GetStore(o)
		if err == nil || s.Driver() == "overlay" {
			return st, err
		}
		if !unsupported(err) {
			return nil, err
		}
	}
	// Every container gets a copy of its image: slow, but it works anywhere.
	o.GraphDriverName, o.GraphDriverOptions = "vfs", nil
	if singleID() {
		o.GraphDriverOptions = []string{"vfs.ignore_chown_errors=true"}
	}
	return storage.GetStore(o)
}

func unsupported(err error) bool {
	return errors.Is(err, storage.ErrNotSupported) || strings.Contains(fmt.Sprint(err), "not supported") ||
		errors.Is(err, os.ErrPermission)
}

// singleID reports whether this namespace has one user id only, so that no
// file can belong to anybody else.
func singleID() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(data))
	return len(f) == 3 && f[2] == "1"
}

// Close releases what a writing call opened. It is safe to call twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		return nil
	}
	s.store.Free()
	s.store = nil
	return nil
}

func (s *Store) tmpDir() string { return filepath.Join(s.root, "tmp") }
