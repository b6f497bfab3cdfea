// SPDX-License-Identifier: Apache-2.0

package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFlock(t *testing.T) {
	p := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(), open()
	defer b.Close()
	if err := Flock(a, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := Flock(b, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Error("locked twice:", err)
	}
	if err := Flock(a, unix.LOCK_SH); err != nil {
		t.Error(err)
	}
	if err := Flock(b, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		t.Error("shared by two:", err)
	}
	if err := Flock(b, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("taken from another reader")
	}
	a.Close()
	if err := Flock(b, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Error("the lock outlives its file:", err)
	}
	if err := Flock(a, unix.LOCK_SH); err == nil {
		t.Error("a closed file was locked")
	}
}

// TestUntil: a wait ends with its context, and one that was given up keeps nothing.
func TestUntil(t *testing.T) {
	p := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	ctx := context.Background()
	a, b := open(), open()
	if err := Until(ctx, a, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := Until(short, b, unix.LOCK_EX); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("the wait did not end with its context:", err)
	}
	if err := Until(short, b, unix.LOCK_SH); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a context that had ended:", err)
	}
	b.Close()
	c := open()
	defer c.Close()
	came := make(chan error)
	go func() { came <- Until(ctx, c, unix.LOCK_EX) }()
	time.Sleep(10 * time.Millisecond)
	a.Close()
	if err := <-came; err != nil {
		t.Error("the lock did not come:", err)
	}
	d := open()
	defer d.Close()
	if err := Flock(d, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Error("the lock that came is not held:", err)
	}
	c.Close()
	if err := Until(ctx, d, unix.LOCK_EX); err != nil {
		t.Error("a wait that was given up kept the lock:", err)
	}
	if err := Until(ctx, c, unix.LOCK_EX); err == nil {
		t.Error("a closed file was locked")
	}
}
