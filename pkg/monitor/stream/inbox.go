// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/proa-containers/proa/pkg/monitor"
)

const (
	// inputSlice is how often somebody who waits for the process to read looks
	// whether the client is still there.
	inputSlice = 200 * time.Millisecond
	// inputLeft bounds what a client has sent before it left.
	inputLeft = 1 << 20
)

// Inbox is what an attached client sends. A client that has left must not be
// kept for input that the process does not read: what it has sent is taken in,
// and the connection closed.
type Inbox struct {
	c    *monitor.Conn
	left []monitor.Frame // sent before the client left
	gone bool
}

func NewInbox(c *monitor.Conn) *Inbox { return &Inbox{c: c} }

func (b *Inbox) Next(buf []byte) (monitor.Frame, error) {
	if !b.gone {
		return b.c.Read(buf)
	}
	if len(b.left) == 0 {
		return monitor.Frame{}, io.EOF
	}
	fr := b.left[0]
	b.left = b.left[1:]
	return fr, nil
}

// look closes the connection of a client that has left.
func (b *Inbox) look() {
	if b.gone || !b.c.HungUp() {
		return
	}
	b.gone = true
	for n := 0; n < inputLeft; {
		fr, err := b.c.Read(nil)
		if err != nil {
			break
		}
		fr.CloseFDs()
		b.left = append(b.left, fr)
		n += len(fr.Payload)
	}
	b.c.Close()
}

// Input writes a client's bytes to the process; without a process, or after
// the end of its input, they are dropped. So are those of a client that has left
// when the process reads nothing for a while.
func (h *Hub) Input(p []byte, from *Inbox) {
	last := time.Now()
	for waits := true; waits; {
		select {
		case h.inTurn <- struct{}{}:
			waits = false
		case <-time.After(inputSlice):
			if from.look(); from.gone && time.Since(last) > patience {
				return
			}
		}
	}
	defer func() { <-h.inTurn }()
	for last = time.Now(); len(p) > 0; {
		h.inMu.Lock()
		f := h.stdin
		h.inMu.Unlock()
		if f == nil {
			return
		}
		_ = f.SetWriteDeadline(time.Now().Add(inputSlice))
		n, err := f.Write(p)
		if n > 0 {
			p, last = p[n:], time.Now()
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if from.look(); from.gone && time.Since(last) > patience {
			return
		}
	}
}
