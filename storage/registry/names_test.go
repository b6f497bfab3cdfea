// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
)

// home is a user without any file but a registries.conf.
func home(t *testing.T, registriesConf string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "registries.conf")
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, conf, registriesConf, 0o600)
	for k, v := range map[string]string{
		"HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "DOCKER_AUTH_CONFIG": "", "REGISTRY_AUTH_FILE": "",
		"CONTAINERS_REGISTRIES_CONF": conf,
	} {
		t.Setenv(k, v)
	}
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
	return dir
}

func put(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func named(t *testing.T, name string) reference.Named {
	t.Helper()
	n, err := imagename.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const placesConf = `
[[registry]]
prefix = "one.example"
location = "two.example/below"
insecure = true
[[registry.mirror]]
location = "mirror.example"
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "plain.example"
insecure = true
`

func TestPlaces(t *testing.T) {
	home(t, placesConf)
	for name, want := range map[string]string{
		"one.example/a/b:1":     "two.example/below/a/b:1", // and not the mirror: it is for reading
		"plain.example/a:1":     "plain.example/a:1",
		"elsewhere.example/a:1": "elsewhere.example/a:1",
	} {
		sys := &types.SystemContext{}
		p, err := PlaceOf(sys, named(t, name))
		if err != nil || p.Of(named(t, name)).String() != want {
			t.Errorf("%s: %v", name, err)
		}
		// TLS as the file says, but only where the library would not look itself.
		if got := sys.DockerInsecureSkipTLSVerify == types.OptionalBoolTrue; got != strings.HasPrefix(name, "one.") {
			t.Errorf("%s: insecure %v", name, got)
		}
	}
	if got := (&Place{}).Of(named(t, "x")).String(); got != "docker.io/library/x:latest" {
		t.Error(got)
	}
	if _, err := PlaceOf(&types.SystemContext{}, named(t, "blocked.example/x")); !errs.Is(err, errs.Denied) {
		t.Error(err)
	}
	yes := &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolFalse}
	if _, err := PlaceOf(yes, named(t, "one.example/a")); err != nil || yes.DockerInsecureSkipTLSVerify != types.OptionalBoolFalse {
		t.Error("--tls-verify comes before the file:", err)
	}
}

// The credentials of a name go along to its place, where that has none of its own.
func TestPlaceCredentials(t *testing.T) {
	dir := home(t, placesConf)
	auth := filepath.Join(dir, "auth.json")
	sys := &types.SystemContext{AuthFilePath: auth}
	put(t, auth, `{"auths":{"one.example":{"auth":"bWU6b25l"}}}`, 0o600) // me:one
	if _, err := PlaceOf(sys, named(t, "one.example/a")); err != nil || sys.DockerAuthConfig == nil || sys.DockerAuthConfig.Password != "one" {
		t.Errorf("%+v %v", sys.DockerAuthConfig, err)
	}
	put(t, auth, `{"auths":{"one.example":{"auth":"bWU6b25l"},"two.example":{"auth":"bWU6dHdv"}}}`, 0o600)
	sys = &types.SystemContext{AuthFilePath: auth}
	if _, err := PlaceOf(sys, named(t, "one.example/a")); err != nil || sys.DockerAuthConfig != nil {
		t.Errorf("the place has its own: %+v %v", sys.DockerAuthConfig, err)
	}
}

func TestParseTransport(t *testing.T) {
	for name, want := range map[string]string{
		"docker://alpine": "docker", "oci:/a:1": "oci", "oci-archive:/a.tar": "oci-archive", "docker-archive:/a.tar": "docker-archive", "dir:/tmp": "dir",
	} {
		if ref, err := ParseTransport(name); err != nil || ref.Transport().Name() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"ostree:x", "docker-daemon:x:1", "x", ""} {
		if _, err := ParseTransport(name); !errs.Is(err, errs.Unsupported) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPlatform(t *testing.T) {
	if got := Platform(&types.SystemContext{OSChoice: "linux", ArchitectureChoice: "arm", VariantChoice: "v7"}); got != "linux/arm/v7" {
		t.Error(got)
	}
	if got := Platform(&types.SystemContext{}); !strings.HasPrefix(got, "linux/") || strings.Count(got, "/") != 1 {
		t.Error(got)
	}
}
