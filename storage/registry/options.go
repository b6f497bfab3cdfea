// SPDX-License-Identifier: Apache-2.0

// Package registry is how a registry is reached: where it lies, with whose
// credentials, how long it is waited for, what is tried again, and what its
// refusals mean. Nothing here knows of the store.
package registry

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	encconfig "github.com/containers/ocicrypt/config"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// RemoteOptions are how a registry is reached.
type RemoteOptions struct {
	TLSVerify  *bool                    // nil: as registries.conf says
	Creds      string                   // user:password; empty: from AuthFile
	AuthFile   string                   // empty: the usual places
	CertDir    string                   // empty: the usual places
	Retry      *int                     // how often more what may pass is tried; nil: three times
	RetryDelay time.Duration            // before each of them; 0: 300 ms, doubling
	Decrypt    *encconfig.DecryptConfig `json:",omitempty"` // of encrypted layers that are fetched; nil: none
}

const (
	defaultRetry = 3
	firstPause   = 300 * time.Millisecond
)

// SystemContext translates the options for containers/image. The caller adds
// the directories for large files. Kind Invalid: Creds are no USER:PASSWORD.
func (r RemoteOptions) SystemContext() (*types.SystemContext, error) {
	sys := &types.SystemContext{
		AuthFilePath:            r.AuthFile,
		DockerCertPath:          r.CertDir,
		DockerRegistryUserAgent: "proa",
	}
	if sys.AuthFilePath == "" {
		sys.AuthFilePath = os.Getenv("REGISTRY_AUTH_FILE")
	}
	if r.TLSVerify != nil {
		sys.DockerInsecureSkipTLSVerify = types.NewOptionalBool(!*r.TLSVerify)
		sys.OCIInsecureSkipTLSVerify = !*r.TLSVerify
	}
	if r.Creds != "" {
		user, pass, ok := strings.Cut(r.Creds, ":")
		if !ok || user == "" {
			return nil, errs.New(errs.Invalid, "credentials must be of the form USER:PASSWORD")
		}
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: user, Password: pass}
	}
	return sys, nil
}

// further is how many attempts follow the first.
func (r RemoteOptions) further() int {
	if r.Retry == nil {
		return defaultRetry
	}
	return *r.Retry
}

// mayPass reports whether err is worth a further attempt. A refused connection is not, unless the
// user asked for attempts, perhaps because the registry is just starting.
func (r RemoteOptions) mayPass(err error) bool {
	asked := r.Retry != nil || r.RetryDelay > 0
	return Transient(err) || asked && errors.Is(err, syscall.ECONNREFUSED)
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

// Retrying runs do again where the network or the server failed in a way that may
// pass. (A 429 with its Retry-After is already handled below us.)
func (r RemoteOptions) Retrying(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || n >= r.further() || !r.mayPass(err) || ctx.Err() != nil {
			return err
		}
		if err := r.pause(ctx, n); err != nil {
			return err
		}
	}
}
