// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
)

// The uplink is started outside the user's namespace, a build runs inside. So
// the process that entered it keeps a socket, and the copy inside asks there.

// uplinkSocketEnv names the socket to the copy inside.
const uplinkSocketEnv = "PROA_BUILD_UPLINK"

// uplinkAnswer is what the copy reads: empty when the uplink is there.
type uplinkAnswer struct {
	Kind    errs.Kind `json:"kind,omitempty"`
	Message string    `json:"message,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

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
	dir := e.BuildSecretDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := &uplinkKeeper{path: filepath.Join(dir, "uplink-"+strconv.Itoa(os.Getpid()))}
	if err := os.Remove(k.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // a killed process had our pid
	}
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
		var a uplinkAnswer
		if k.hold == nil {
			if err := start(); err != nil {
				a = uplinkAnswer{errs.KindOf(err), err.Error(), errs.HintOf(err)}
			}
		}
		_ = json.NewEncoder(c).Encode(a) // the copy may be gone
		c.Close()
	}
}

func (k *uplinkKeeper) Close() {
	k.cancel()
	k.ln.Close() // removes the socket
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
	var a uplinkAnswer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	if a.Message == "" {
		return nil
	}
	e := errs.New(a.Kind, "%s", a.Message)
	e.Hint = a.Hint
	return e
}
