// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// A look at whether somebody lives in a directory must not keep others from
// moving in.
func TestLockBesideProbes(t *testing.T) {
	dir := Paths{Run: filepath.Join(t.TempDir(), "run"), Data: t.TempDir()}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Alive(dir)
				}
			}
		})
	}
	for range 300 {
		f, err := Lock(dir)
		if err != nil {
			t.Errorf("lock: %v", err)
			break
		}
		if _, err := Lock(dir); !errs.Is(err, errs.State) {
			t.Errorf("second lock: %v", err)
		}
		f.Close()
	}
	close(stop)
	wg.Wait()
}

// The lock in the data directory stands for the other one where that has
// vanished, and whoever is refused by it leaves nothing behind.
func TestLockOutlivesRunDir(t *testing.T) {
	p := Paths{Run: filepath.Join(t.TempDir(), "run"), Data: t.TempDir()}
	h, err := Lock(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.Run); err != nil {
		t.Fatal(err)
	}
	other := Paths{Run: filepath.Join(t.TempDir(), "other"), Data: p.Data}
	for _, q := range []Paths{p, other} {
		if !Alive(q) {
			t.Error("a live container is taken for dead")
		}
		if _, err := Lock(q); !errs.Is(err, errs.State) {
			t.Errorf("locked twice: %v", err)
		}
		if _, err := os.Lstat(q.Run); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made: %v", q.Run, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if Alive(p) || Alive(other) {
		t.Error("alive after its end")
	}
	if h, err = Lock(other); err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
}

// A data directory that is gone is not made again by whoever locks what is left.
func TestLockWithoutDataDir(t *testing.T) {
	p := Paths{Run: filepath.Join(t.TempDir(), "run"), Data: filepath.Join(t.TempDir(), "gone")}
	h, err := Lock(p)
	if err != nil || h.Data != nil {
		t.Fatal(h, err)
	}
	_ = h.Close()
	if _, err := os.Lstat(p.Data); !errors.Is(err, os.ErrNotExist) {
		t.Error("made again")
	}
	if h, err = LockNew(p); err != nil || h.Data == nil {
		t.Fatal(h, err)
	}
	_ = h.Close()
}

// A command that finds the directories of a container in the making takes them
// for left-overs, and their locks for a moment.
func TestLockNewWaits(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []Paths{
		{Run: filepath.Join(dir, "a/run"), Data: filepath.Join(dir, "a/data")},
		{Run: filepath.Join(dir, "b/run")},
	} {
		other, err := Lock(p)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			time.Sleep(20 * time.Millisecond)
			done <- errors.Join(os.RemoveAll(p.Run), other.Close())
		}()
		hold, err := LockNew(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !Alive(p) {
			t.Error("what it holds is not seen")
		}
		_ = hold.Close()
	}
}

func TestLock(t *testing.T) {
	dir := Paths{Run: filepath.Join(t.TempDir(), "c", strings.Repeat("long", 30))}
	if Alive(dir) {
		t.Error("alive before it was born")
	}
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !Alive(dir) {
		t.Error("not alive while locked")
	}
	if _, err := Lock(dir); !errs.Is(err, errs.State) {
		t.Errorf("second lock: %v", err)
	}
	if ok, err := Clear(dir); ok || err != nil {
		t.Errorf("cleared a live one: %v %v", ok, err)
	}
	l.Close()
	if Alive(dir) {
		t.Error("alive after the end")
	}
	if ok, err := Clear(dir); !ok || err != nil {
		t.Errorf("clear: %v %v", ok, err)
	}
	if _, err := os.Lstat(dir.Run); !errors.Is(err, os.ErrNotExist) {
		t.Error("still there")
	}
}

// TestLockOfUnlinkedFile: the monitor removes the lock file while it holds the
// lock; whoever had opened it by then must not believe to have locked.
func TestLockOfUnlinkedFile(t *testing.T) {
	dir := Paths{Run: filepath.Join(t.TempDir(), "c")}
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.RemoveAll(dir.Run)
	second, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if !Alive(dir) {
		t.Error("the second lock does not count")
	}
}
