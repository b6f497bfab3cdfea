// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// Who asks to be told of the end in the moment of the end gets the answer first, then
// the end; or hears that it is too late.
func TestEndWhileSomebodyAsks(t *testing.T) {
	for i := range 1000 {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := monitor.NewConnFD(fds[0])
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := monitor.NewConnFD(fds[1])
		if err != nil {
			t.Fatal(err)
		}
		v := &server{over: make(chan struct{}), settled: make(chan struct{}), watchers: map[*watcher]bool{}}
		go func() {
			_ = v.watch(ours, false, func() {})
			_ = ours.Close()
		}()
		ended := make(chan struct{})
		go func() {
			time.Sleep(time.Duration(i%100) * time.Microsecond)
			v.announce(monitor.Exit{})
			close(ended)
		}()
		_ = theirs.SetDeadline(time.Now().Add(5 * time.Second))
		if fr, err := theirs.Read(nil); err == nil && fr.Type != monitor.FrameReply {
			t.Errorf("round %d: the first frame is %v", i, fr.Type)
		}
		_ = theirs.Close()
		<-ended
	}
}
