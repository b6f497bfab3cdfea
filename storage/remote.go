// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"time"
)

// RemoteOptions are how a registry is reached.
type RemoteOptions struct {
	TLSVerify  *bool         // nil: as registries.conf says
	Creds      string        // user:password; empty: from AuthFile
	AuthFile   string        // empty: the usual places
	CertDir    string        // empty: the usual places
	Retry      *int          // how often more what may pass is tried; nil: defaultRetry
	RetryDelay time.Duration // before each of them; 0: firstPause, doubling
	Decrypt    *DecryptKeys  `json:",omitempty"` // of encrypted layers that are fetched; nil: none
}

const (
	defaultRetry = 3
	firstPause   = 300 * time.Millisecond
)

func (r RemoteOptions) pull() PullOptions { return PullOptions{RemoteOptions: r} }

// further is how many attempts follow the first.
func (r RemoteOptions) further() int {
	if r.Retry == nil {
		return defaultRetry
	}
	return *r.Retry
}

// pause waits before the nth further attempt, counted from 0.
func (r RemoteOptions) pause(ctx context.Context, n int) error {
	d := r.RetryDelay
	if d == 0 {
		d = firstPause << min(n, 6)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry runs do again where the network or the server failed in a way that may
// pass. (A 429 with its Retry-After is already handled below us.)
func (r RemoteOptions) retry(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || n >= r.further() || !transient(err) || ctx.Err() != nil {
			return err
		}
		if err := r.pause(ctx, n); err != nil {
			return err
		}
	}
}
