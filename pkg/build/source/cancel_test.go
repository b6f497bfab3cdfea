// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"
)

// A build that is cancelled ends though the server says nothing, and so do the
// programs that git has started.
func TestCancelledClone(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	dir := t.TempDir()
	go func() {
		_, err := Clone(ctx, "http://"+silent.Addr().String()+"/repo.git", dir, CloneOptions{})
		done <- err
	}()
	asked, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it is told as %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits on")
	}
	if err := asked.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, asked); isTimeout(err) {
		t.Error("somebody still waits for the answer")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
