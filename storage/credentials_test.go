// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
)

// Whatever speaks with a registry finds the credentials that Docker keeps in
// places of its own.
func TestDockersCredentials(t *testing.T) {
	srv := newRegistry(t)
	guarded := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == "me" && p == "right" {
			return false
		}
		status(401, "WWW-Authenticate", `Basic realm="x"`)(w, r)
		return true
	})
	host := hostOf(guarded)
	push(t, hostOf(srv), "me/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, host)
	t.Setenv("DOCKER_AUTH_CONFIG", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:right"))))
	ctx, ref := context.Background(), host+"/me/alpine"
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"pull", func() error { _, err := s.Pull(ctx, ref, PullOptions{}); return err }},
		{"artifact pull", func() error { _, err := artifactsBeside(s).Pull(ctx, ref, fast(0), nil); return err }},
		{"artifact push", func() error { _, err := artifactsBeside(s).Push(ctx, ref, fast(0), nil); return err }},
		{"manifest inspect", func() error { _, err := s.ManifestInspect(ctx, ref, fast(0)); return err }},
		{"manifest create", func() error {
			_, err := s.ManifestCreate(ctx, "list", ListCreation{Refs: []string{"docker://" + ref}, Remote: fast(0)})
			return err
		}},
		{"manifest push", func() error {
			_, err := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: fast(0), Destination: host + "/me/list"})
			return err
		}},
		{"cache to", func() error {
			return s.WriteCache(ctx, CacheRef{Name: host + "/me/cache", Remote: fast(0)}, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte("{}"), nil })
		}},
		{"cache from", func() error {
			items, err := s.OpenCache(ctx, CacheRef{Name: host + "/me/cache", Remote: fast(0)})
			if err == nil {
				err = items[0].Close()
			}
			return err
		}},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
