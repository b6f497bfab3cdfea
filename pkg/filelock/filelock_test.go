// SPDX-License-Identifier: Apache-2.0

package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

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
