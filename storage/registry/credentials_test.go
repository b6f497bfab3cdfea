// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestDockersCredentials(t *testing.T) {
	dir := home(t, "")
	get := func(name string) (user string, err error) {
		t.Helper()
		sys := &types.SystemContext{}
		if err := AddCredentials(sys, named(t, name)); err != nil {
			return "", err
		}
		if sys.DockerAuthConfig == nil {
			return "", nil
		}
		return sys.DockerAuthConfig.Username + sys.DockerAuthConfig.IdentityToken, nil
	}
	want := func(what, name, user string) {
		t.Helper()
		if u, err := get(name); u != user || err != nil {
			t.Errorf("%s: got %q, %v", what, u, err)
		}
	}
	bad := func(what, name string) {
		t.Helper()
		if u, err := get(name); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: got %q, %v", what, u, err)
		}
	}
	want("nothing", "alpine", "")

	t.Setenv("DOCKER_AUTH_CONFIG", `{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},"reg.example":{"identitytoken":"token"},"bad.example":{"auth":"!"}}}`)
	want("docker.io by Docker's name for it", "alpine", "hub")
	want("a token", "reg.example/x", "token")
	want("another registry", "other.example/x", "")
	bad("no base64", "bad.example/x")
	t.Setenv("DOCKER_AUTH_CONFIG", "{")
	bad("no JSON", "alpine")
	t.Setenv("DOCKER_AUTH_CONFIG", "")

	bin := filepath.Join(dir, "bin")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	put(t, filepath.Join(dir, ".docker/config.json"), `{"credsStore":"test"}`, 0o600)
	if _, err := get("alpine"); !strings.Contains(errs.HintOf(err), "credsStore") {
		t.Error("a helper that is not installed is no helper without credentials")
	}
	put(t, filepath.Join(bin, "docker-credential-test"), `#!/bin/sh
read server
case $server in
https://index.docker.io/v1/) echo '{"Username":"helped","Secret":"pw"}' ;;
token.example) echo '{"Username":"<token>","Secret":"secret"}' ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac
`, 0o700)
	want("the helper", "alpine", "helped")
	want("its token", "token.example/x", "secret")
	want("it has none", "other.example/x", "")
	put(t, filepath.Join(dir, ".docker/config.json"), `{`, 0o600)
	if _, err := get("alpine"); err == nil {
		t.Error("a broken config.json was taken for none")
	}
	// What was said on the command line is not looked for.
	given := &types.SystemContext{DockerAuthConfig: &types.DockerAuthConfig{Username: "given"}}
	if err := AddCredentials(given, named(t, "alpine")); err != nil || given.DockerAuthConfig.Username != "given" {
		t.Error(err)
	}
}

func TestLogin(t *testing.T) {
	dir := home(t, "")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "me" || p != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	no := false
	o := LoginOptions{Registry: srv.URL + "/", Username: "me", Password: "wrong", TLSVerify: &no}
	file := filepath.Join(dir, ".config/containers/auth.json")
	if _, err := Login(context.Background(), o); !errs.Is(err, errs.Unauthorized) {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("kept what the registry refused:", err)
	}
	o.Password = "right"
	where, err := Login(context.Background(), o)
	if err != nil || where != file {
		t.Fatal(where, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error("others can read it:", err)
	}
	if u, err := LoggedIn(LoginOptions{Registry: host}); err != nil || u != "me" {
		t.Error(u, err)
	}
	if u, p, err := Credentials(LoginOptions{Registry: host}); err != nil || u != "me" || p != "right" {
		t.Error(u, p, err)
	}
	if err := Logout(o); err != nil {
		t.Error(err)
	}
	if err := Logout(o); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	o.CompatAuthFile = filepath.Join(dir, "docker.json")
	if _, err := Login(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if u, err := LoggedIn(LoginOptions{Registry: host, CompatAuthFile: o.CompatAuthFile}); err != nil || u != "me" {
		t.Error(u, err)
	}
	if err := LogoutAll(o); err != nil {
		t.Error(err)
	}
	if u, err := LoggedIn(LoginOptions{Registry: host, CompatAuthFile: o.CompatAuthFile}); err != nil || u != "" {
		t.Error(u, err)
	}
}

func TestRegistryKey(t *testing.T) {
	for in, want := range map[string][2]string{
		"": {"docker.io", "docker.io"}, "https://index.docker.io/v1/": {"docker.io", "docker.io"},
		"http://reg.example:5000/": {"reg.example:5000", "reg.example:5000"}, "reg.example/team": {"reg.example/team", "reg.example"},
	} {
		if key, host := registryKey(in); key != want[0] || host != want[1] {
			t.Errorf("%q: %s, %s", in, key, host)
		}
	}
}

func TestWritableAuthFile(t *testing.T) {
	dir := home(t, "")
	if got := writableAuthFile("given"); got != "given" {
		t.Error(got)
	}
	if got := writableAuthFile(""); got != filepath.Join(dir, ".config/containers/auth.json") {
		t.Error(got)
	}
	// Another tool's file would come first, so it is the one.
	put(t, filepath.Join(dir, "run/containers/auth.json"), "{}", 0o600)
	if got := writableAuthFile(""); got != "" {
		t.Error(got)
	}
}
