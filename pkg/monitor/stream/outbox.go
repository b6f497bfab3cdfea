// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"sync"
	"time"

	"github.com/proa-containers/proa/pkg/monitor"
)

// How far a client may fall behind.
const (
	ownBacklog  = 64 << 10 // of the launch's own client, which holds the process up
	backlog     = 1 << 20  // of any other
	lastBacklog = 8 << 20  // of the launch's own, of what was left when the process ended
	// patience is how long a client with a full backlog may take nothing at
	// all. Its terminal is stopped, or its line dead: it is let go.
	patience = 5 * time.Second
	// lookAgain is how often a waiting client is looked at.
	lookAgain = 500 * time.Millisecond
)

// Client is one attachment, and what it has not taken yet. A frame goes out at
// once where the socket takes it; what it does not take is kept here and follows
// in the background.
//
// The client that came with the launch is what `run` in the foreground is: while
// it is slow the process waits, so that no byte is lost. It must not hold up the
// end: from then on its backlog may grow. Any other client holds the process up
// for a moment at most.
type Client struct {
	conn           *monitor.Conn
	stdout, stderr bool
	own            bool // came with the launch

	mu      sync.Mutex
	changed sync.Cond
	queue   []byte // frames, the first perhaps in part
	sending bool   // a goroutine sends the queue
	ending  bool   // the process has ended: wait no more
	err     error
	moved   time.Time // when the client last took something
	unread  int       // what the socket held then
}

func NewClient(c *monitor.Conn, r *monitor.AttachRequest, own bool) *Client {
	cl := &Client{conn: c, stdout: r.Stdout, stderr: r.Stderr, own: own}
	cl.changed.L = &cl.mu
	return cl
}

// write sends a frame, or waits for room. An error means that the client is
// gone, and the connection is closed.
func (c *Client) write(t monitor.FrameType, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && !c.room() {
		if c.stalled() {
			c.fail(errStalled)
			break
		}
		c.wait()
	}
	return c.send(t, p)
}

// Post sends a frame that must not wait.
func (c *Client) Post(t monitor.FrameType, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.send(t, p)
}

// room reports whether a frame may be added; c.mu is held.
func (c *Client) room() bool {
	switch {
	case !c.own:
		return len(c.queue) < backlog
	case c.ending:
		return len(c.queue) < lastBacklog
	}
	return len(c.queue) < ownBacklog
}

// stalled reports whether the client is to be let go; c.mu is held.
func (c *Client) stalled() bool {
	return (!c.own || c.ending) && c.idle() >= patience
}

// idle is how long the client has taken nothing; c.mu is held. A socket says
// that it takes more only when most of it is empty: what a slow reader takes is
// seen in what the socket still holds. Nobody may have looked for a while,
// because another client was waited for: several that stand still hold the
// process up no longer than one.
func (c *Client) idle() time.Duration {
	n := c.conn.Unread()
	if n < c.unread {
		c.moved = time.Now()
	}
	c.unread = n
	return time.Since(c.moved)
}

// wait returns when something has changed, or it is time to look at a client
// whose patience has an end; c.mu is held.
func (c *Client) wait() {
	if c.own && !c.ending {
		c.changed.Wait()
		return
	}
	t := time.AfterFunc(lookAgain, c.changed.Broadcast)
	c.changed.Wait()
	t.Stop()
}

// Send is write without the waiting; c.mu is held.
func (c *Client) send(t monitor.FrameType, p []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.sending {
		c.queue = monitor.AppendFrame(c.queue, t, p)
		return nil
	}
	rest, err := c.conn.WriteNow(t, p)
	if err != nil {
		c.fail(err)
		return err
	}
	if len(rest) > 0 {
		c.queue, c.sending, c.moved, c.unread = rest, true, time.Now(), c.conn.Unread()
		go c.sendQueue()
	}
	return nil
}

// sendQueue sends until nothing is left.
func (c *Client) sendQueue() {
	const piece = 16 << 10
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.queue) > 0 {
		p := c.queue[:min(piece, len(c.queue))]
		c.mu.Unlock()
		err := c.conn.WriteRaw(p)
		c.mu.Lock()
		if err != nil {
			c.fail(err)
			break
		}
		c.queue, c.moved, c.unread = c.queue[len(p):], time.Now(), c.conn.Unread()
		c.changed.Broadcast()
	}
	c.queue, c.sending = nil, false
	c.changed.Broadcast()
}

// fail lets the client go; c.mu is held.
func (c *Client) fail(err error) {
	if c.err == nil {
		c.err = err
		c.conn.Close()
		c.changed.Broadcast()
	}
}

// SetEnding says whether the process has ended.
func (c *Client) setEnding(on bool) {
	c.mu.Lock()
	c.ending = on
	c.changed.Broadcast()
	c.mu.Unlock()
}

// Flush waits until the client has taken everything, or is gone.
func (c *Client) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.sending {
		switch {
		case c.own:
			c.changed.Wait()
		case c.idle() >= patience:
			c.fail(errStalled)
		default:
			c.wait()
		}
	}
}
