// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor/supervisor"
	"github.com/proa-containers/proa/pkg/rundir"
)

var beforeReady = []string{
	supervisor.FailpointLocked, supervisor.FailpointMounted, supervisor.FailpointNetwork,
	supervisor.FailpointCreated, supervisor.FailpointStarting, supervisor.FailpointStarted,
}

var afterExit = []string{
	supervisor.FailpointExited, supervisor.FailpointExitWritten, supervisor.FailpointLayerRemoved, supervisor.FailpointUnlocked,
}

// TestKilledWhileStarting: a monitor that dies on the way leaves a free lock
// and no process, and the front end hears about it.
func TestKilledWhileStarting(t *testing.T) {
	for _, point := range beforeReady {
		t.Run(point, func(t *testing.T) {
			b := newBox(t, []string{"sleep", "100"})
			b.env = []string{"PROA_FAILPOINT=" + point + "=kill"}
			err := b.start()
			if !errs.Is(err, errs.Unavailable) {
				t.Fatalf("%v", err)
			}
			eventually(t, "the lock is free", func() bool { return !rundir.Alive(b.paths()) })
			if ok, err := rundir.Clear(b.paths()); !ok || err != nil {
				t.Errorf("clear: %v %v", ok, err)
			}
			b.gone()
			// The same container starts afterwards.
			b.env = nil
			b.mustStart()
		})
	}
}

// TestFailedWhileStarting: the same steps failing leave nothing at all.
func TestFailedWhileStarting(t *testing.T) {
	for _, point := range beforeReady {
		t.Run(point, func(t *testing.T) {
			b := newBox(t, []string{"sleep", "100"}, remove)
			b.env = []string{"PROA_FAILPOINT=" + point + "=error"}
			if err := b.start(); err == nil {
				t.Fatal("started")
			}
			b.gone()
			for _, p := range []string{b.cfg.Rootfs.Upper, b.cfg.Rootfs.Work} {
				if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there", p)
				}
			}
		})
	}
}

// TestKilledAtTheEnd: exit.json, once there, is true, and the lock is free.
func TestKilledAtTheEnd(t *testing.T) {
	for i, point := range afterExit {
		t.Run(point, func(t *testing.T) {
			b := newBox(t, []string{"sh", "-c", "exit 5"}, remove)
			b.env = []string{"PROA_FAILPOINT=" + point + "=kill"}
			b.mustStart()
			eventually(t, "the lock is free", func() bool { return !rundir.Alive(b.paths()) })
			e, err := b.exitFile()
			if i == 0 {
				if !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%+v: %v", e, err)
				}
			} else if err != nil || e.Code != 5 {
				t.Errorf("%+v: %v", e, err)
			}
			if ok, err := rundir.Clear(b.paths()); !ok || err != nil {
				t.Errorf("clear: %v %v", ok, err)
			}
		})
	}
}

// TestManyAtOnce: fifty runs share one user namespace and nothing else.
func TestManyAtOnce(t *testing.T) {
	base := tempBase(t)
	newBoxIn(t, base, []string{"sleep", "1000"}).mustStart()
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	for i := range 50 {
		b := newBoxIn(t, base, []string{"echo", fmt.Sprint(i)}, remove, foreground)
		wg.Add(1)
		go func() {
			defer wg.Done()
			gate <- struct{}{}
			defer func() { <-gate }()
			if err := b.start(); err != nil {
				t.Errorf("run %d: %v", i, err)
				return
			}
			<-b.copied
			if b.copyErr != nil || b.exit.Code != 0 || b.out.String() != fmt.Sprintf("%d\n", i) {
				t.Errorf("run %d: %+v %q: %v", i, b.exit, b.out.String(), b.copyErr)
			}
		}()
	}
	wg.Wait()
	left, err := os.ReadDir(filepath.Join(runBase(t, base), "c"))
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
}
