// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestInterruptible: a context that ends wakes a reader that waits, and what was
// written is read all the same.
func TestInterruptible(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	in := Interruptible(ctx, r)
	buf := make([]byte, 10)
	if _, err := w.WriteString("there"); err != nil {
		t.Fatal(err)
	}
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "there" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, _ = w.WriteString("late")
	}()
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "late" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := in.Read(buf); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting reader: %v", err)
	}
	if _, err := in.Read(buf); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader that comes later: %v", err)
	}
	w.Close()
	if _, err := Interruptible(context.Background(), r).Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if s := strings.NewReader("x"); Interruptible(ctx, s) != io.Reader(s) {
		t.Error("a reader that never waits was wrapped")
	}
}
