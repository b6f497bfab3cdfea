// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/test/wild"
)

// A watch inside of another one has its own limit: what a push reads elsewhere
// is not given the time that its target may think.
func TestWatchInWatch(t *testing.T) {
	t.Setenv("PROA_REGISTRY_SILENCE", "200ms")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }))
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	get := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
		if err != nil {
			return err
		}
		res, err := new(http.Transport).RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	began := time.Now()
	err := Patiently(context.Background(), func(ctx context.Context) error { return Within(ctx, get) })
	if took := time.Since(began); !errs.Is(err, errs.Unavailable) || took > time.Second {
		t.Errorf("%v after %s", err, took)
	}
	// The end of the outer one is the end of the inner one.
	ctx, cancel := context.WithCancelCause(context.Background())
	mine := errors.New("mine")
	err = Patiently(ctx, func(ctx context.Context) error {
		return Within(ctx, func(ctx context.Context) error {
			cancel(mine)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	if !errors.Is(err, mine) {
		t.Error(err)
	}
}
