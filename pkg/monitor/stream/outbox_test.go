// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// attached is a client of h whose other end nobody reads.
func attached(t *testing.T, h *Hub) *Client {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := monitor.NewConnFD(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); unix.Close(fds[1]) })
	c := NewClient(conn, &monitor.AttachRequest{Stdout: true}, false)
	h.attach(c)
	return c
}

// Several clients that take nothing hold the process up no longer than one.
func TestStalledClientsTogether(t *testing.T) {
	h := NewHub(nil)
	clients := make([]*Client, 4)
	for i := range clients {
		clients[i] = attached(t, h)
	}
	begin := time.Now()
	frame := make([]byte, monitor.MaxStream)
	for n := 0; n < 4*backlog; n += len(frame) {
		h.deliver(monitor.FrameStdout, frame)
	}
	if d := time.Since(begin); d < patience || d > patience+patience/2 {
		t.Errorf("the process waited for %s", d)
	}
	for i, c := range clients {
		c.mu.Lock()
		if c.err == nil {
			t.Errorf("client %d is still attached", i)
		}
		c.mu.Unlock()
	}
}
