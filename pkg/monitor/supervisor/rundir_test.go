// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/rundir"
)

// A command that sees the lock of a runtime directory which was made again connects at
// once: the monitor must listen by then.
func TestListensBeforeItLocksAgain(t *testing.T) {
	b := newBox(t, []string{"sleep", "100"})
	b.mustStart()
	pid := b.status().MonitorPID
	for range 200 {
		if err := os.RemoveAll(b.cfg.RunDir); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, rundir.SignalRestore); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); !rundir.Locked(b.cfg.RunDir); runtime.Gosched() {
			if time.Since(begin) > 10*time.Second {
				t.Fatal("the directory is not made again")
			}
		}
		c, err := client.Dial(b.cfg.RunDir)
		if err != nil {
			t.Fatalf("locked, and not there: %v", err)
		}
		_ = c.Close()
		eventually(t, "the status", func() bool { _, err := rundir.ReadHead(b.cfg.RunDir); return err == nil })
	}
}
