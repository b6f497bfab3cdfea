// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/rootless/userns"
)

// The uplink is started outside the user's namespace, a build runs inside. So
// the process that entered it keeps a socket, and the copy inside asks there.

// uplinkSocketEnv names the socket to the copy inside.
const uplinkSocketEnv = "PROA_BUILD_UPLINK"

// uplinkKeeper brings the uplink up when it is asked to, and holds it.
type uplinkKeeper struct {
	path   string
	ln     net.Listener
	cancel context.CancelFunc
	done   sync.WaitGroup
	hold   *uplink.Hold
}

// keepUplink starts to listen. The caller closes the keeper.
func (e *Engine) keepUplink(ctx context.Context, ns *userns.Namespace) (*uplinkKeeper, error) {
	// An abstract name ends with the process, however that ends.
	k := &uplinkKeeper{path: "@proa-build-" + rand.Text()}
	var err error
	if k.ln, err = net.Listen("unix", k.path); err != nil {
		return nil, err
	}
	ctx, k.cancel = context.WithCancel(ctx)
	k.done.Go(func() { k.serve(func() (err error) { k.hold, err = e.holdUplink(ctx, ns); return err }) })
	return k, nil
}

func (k *uplinkKeeper) serve(start func() error) {
	for {
		c, err := k.ln.Accept()
		if err != nil {
			return // closed
		}
		if !ownPeer(c) {
			c.Close() // abstract names have no permissions
			continue
		}
		var answer *wire.Error // null: the uplink is there
		if k.hold == nil {
			answer = wire.New(start())
		}
		_ = json.NewEncoder(c).Encode(answer) // the copy may be gone
		c.Close()
	}
}

// ownPeer says whether the other end is a process of this user.
func ownPeer(c net.Conn) bool {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	own := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		own = err == nil && int(cred.Uid) == os.Getuid()
	})
	return err == nil && own
}

func (k *uplinkKeeper) Close() {
	k.cancel()
	k.ln.Close()
	k.done.Wait()
	if k.hold != nil {
		k.hold.Close()
	}
}

// askUplink makes sure that the uplink is there. Without a keeper, as root,
// the start of the container does it.
func askUplink(ctx context.Context) error {
	path := os.Getenv(uplinkSocketEnv)
	if path == "" {
		return nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var answer *wire.Error
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return answer.Err()
}
