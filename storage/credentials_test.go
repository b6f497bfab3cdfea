// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/registry"
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
	t.Run("DOCKER_AUTH_CONFIG", func(t *testing.T) {
		t.Setenv("DOCKER_AUTH_CONFIG", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:right"))))
		checkCredentials(t, s, host)
	})
	t.Run("credsStore", func(t *testing.T) {
		dir := t.TempDir()
		helper := "#!/bin/sh\nread server\necho \"$server\" >>" + dir + "/asked\necho '{\"Username\":\"me\",\"Secret\":\"right\"}'\n"
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"test"}`), 0o600),
			os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700)); err != nil {
			t.Fatal(err)
		}
		t.Setenv("DOCKER_CONFIG", dir)
		t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
		checkCredentials(t, newStore(t, host), host)
		asked, err := os.ReadFile(filepath.Join(dir, "asked"))
		if n := strings.Count(string(asked), host+"\n"); err != nil || n < 8 {
			t.Errorf("the helper was asked %d times: %v", n, err)
		}
	})
	t.Run("neither", func(t *testing.T) {
		if _, err := newStore(t, host).Pull(context.Background(), host+"/me/alpine", PullOptions{}); !errs.Is(err, errs.Unauthorized) {
			t.Error(err)
		}
	})
}

// checkCredentials does everything that wants credentials for host.
func checkCredentials(t *testing.T, s *Store, host string) {
	t.Helper()
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

// What --creds says is for the registry that a list goes to: another one, where
// an image of the list lies, must not learn it.
func TestCredentialsForTheTargetOnly(t *testing.T) {
	challenge := func(w http.ResponseWriter) { status(401, "WWW-Authenticate", `Basic realm="x"`)(w, nil) }
	var mu sync.Mutex
	var told []string
	behind := newRegistry(t)
	source := front(t, behind, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if u, p, _ := r.BasicAuth(); u != "" || p != "" {
			told = append(told, r.URL.Path+": "+u+":"+p)
		}
		if r.URL.Path == "/v2/" {
			challenge(w)
			return true
		}
		return false
	})
	target := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == "me" && p == "right" {
			return false
		}
		challenge(w)
		return true
	})
	push(t, hostOf(behind), "me/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, hostOf(target))
	insecure := false
	ro, ctx := registry.RemoteOptions{TLSVerify: &insecure, Retry: new(int)}, context.Background()
	if _, err := s.ManifestCreate(ctx, "list", ListCreation{Refs: []string{"docker://" + hostOf(source) + "/me/alpine"}, Remote: ro}); err != nil {
		t.Fatal(err)
	}
	ro.Creds = "me:right"
	name := hostOf(target) + "/me/list"
	if _, err := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: ro, Destination: name}); err != nil {
		t.Error(err)
	}
	if len(told) > 0 {
		t.Errorf("the source was told %q", told)
	}
	// From the same registry it takes them.
	if _, err := s.ManifestCreate(ctx, "again", ListCreation{Refs: []string{"docker://" + name}, Remote: ro}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ManifestPush(ctx, "again", ManifestPushOptions{RemoteOptions: ro, Destination: name + ":again"}); err != nil {
		t.Error(err)
	}
}
