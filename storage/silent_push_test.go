// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/test/wild"
)

// Nobody waits for ever for a registry that takes a manifest and says nothing.
func TestSilentTargets(t *testing.T) {
	f := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			wild.Hang(w)
			return true
		}
		return false
	})
	t.Cleanup(f.CloseClientConnections)
	s := newStore(t, hostOf(f))
	quick(t, 50*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := s.ManifestCreate(ctx, "list", ListCreation{}); err != nil {
		t.Fatal(err)
	}
	_, list := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: fast(0), Destination: hostOf(f) + "/me/list"})
	cache := s.WriteCache(ctx, CacheRef{Name: hostOf(f) + "/me/cache", Remote: fast(0)}, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte("{}"), nil })
	for what, err := range map[string]error{"list": list, "cache": cache} {
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for") {
			t.Errorf("%s: %v (%v)", what, err, errs.KindOf(err))
		}
	}
}
