// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A child belongs to the thread that forked it, and to another one when that thread
// ends. Its pid out there must be found meanwhile, too.
func TestHostPIDWhileThreadsEnd(t *testing.T) {
	dir, err := os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	h := HostView{dir}
	for range 200 {
		started := make(chan *os.Process)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			p, err := os.StartProcess("/bin/sleep", []string{"sleep", "60"}, &os.ProcAttr{})
			if err != nil {
				t.Error(err)
			}
			started <- p
		}()
		p := <-started
		if p == nil {
			return
		}
		pid, start := h.Child(p.Pid)
		if pid != p.Pid || start == 0 || start != h.StartTime(p.Pid) {
			t.Errorf("process %d is %d, started at %d", p.Pid, pid, start)
		}
		_ = p.Kill()
		_, _ = p.Wait()
	}
}
