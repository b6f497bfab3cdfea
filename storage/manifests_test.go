// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
)

func TestManifestLists(t *testing.T) {
	srv := newRegistry(t)
	host := hostOf(srv)
	s := newStore(t, host)
	ctx := context.Background()
	img := loadAlpine(t, s)
	push(t, host, "library/other:latest", imageOf(t, tarOf(t, file("x", "y"))))
	name := host + "/me/multi:1"
	if _, err := s.ManifestCreate(ctx, name, ListCreation{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ManifestCreate(ctx, name, ListCreation{}); !errs.Is(err, errs.Exists) {
		t.Error(err)
	}
	if _, err := s.ManifestAdd(ctx, name, "alpine", manifestlist.Entry{}, false, registry.RemoteOptions{}); err != nil {
		t.Fatal(err)
	}
	added, err := s.ManifestAdd(ctx, name, "docker://other", manifestlist.Entry{Arch: "arm64", Variant: "v8"}, false, registry.RemoteOptions{})
	if err != nil || len(added) != 1 {
		t.Fatal(added, err)
	}
	if err := s.ManifestAnnotate(ctx, name, "alpine", manifestlist.Entry{Annotations: map[string]string{"k": "v"}}); err != nil {
		t.Error(err)
	}
	raw, err := s.ManifestInspect(ctx, name, registry.RemoteOptions{})
	if err != nil || strings.Contains(string(raw), "proa.source") {
		t.Errorf("%s %v", raw, err)
	}
	pushed, err := s.ManifestPush(ctx, name, ManifestPushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remote, err := s.ManifestInspect(ctx, host+"/me/multi@"+pushed.Digest.String(), registry.RemoteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ix imgspec.Index
	if err := json.Unmarshal(remote, &ix); err != nil || len(ix.Manifests) != 2 || ix.Manifests[1].Platform.Variant != "v8" || ix.Manifests[0].Annotations["k"] != "v" {
		t.Errorf("%s", remote)
	}
	other := newStore(t, host)
	got, err := other.Pull(ctx, name, PullOptions{Platform: "linux/amd64"})
	if err != nil || got.ID != img.ID {
		t.Errorf("%v %v", got, err)
	}
	checkAlpine(t, other, got)
	if err := s.ManifestRemove(ctx, name, "alpine"); err != nil {
		t.Error(err)
	}
	if _, err := s.Remove(ctx, name, RemoveOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := s.Resolve(name); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestLogin(t *testing.T) {
	srv := newRegistry(t)
	guarded := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == "me" && p == "right" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, hostOf(guarded))
	ctx := context.Background()
	l := registry.LoginOptions{Registry: "https://" + hostOf(guarded) + "/", Username: "me", Password: "wrong"}
	if _, err := registry.Login(ctx, l); !errs.Is(err, errs.Unauthorized) {
		t.Error(err)
	}
	ref := hostOf(guarded) + "/library/alpine"
	if _, err := s.Pull(ctx, ref, PullOptions{}); !errs.Is(err, errs.Unauthorized) {
		t.Error(err)
	}
	if _, err := s.Pull(ctx, ref, PullOptions{RemoteOptions: registry.RemoteOptions{Creds: "me:right"}}); err != nil {
		t.Error(err)
	}
	l.Password = "right"
	if _, err := registry.Login(ctx, l); err != nil {
		t.Fatal(err)
	}
	if u, err := registry.LoggedIn(l); err != nil || u != "me" {
		t.Error(u, err)
	}
	if _, err := s.Pull(ctx, ref, PullOptions{}); err != nil {
		t.Error(err)
	}
	if err := registry.Logout(l); err != nil {
		t.Error(err)
	}
	if err := registry.Logout(l); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}
