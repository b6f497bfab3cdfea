// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"os"
	"path/filepath"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
)

// TestLoopback: a registry on this machine may speak HTTP, unless the caller or
// registries.conf says something about it.
func TestLoopback(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "registries.conf")
	text := "[[registry]]\nlocation = \"localhost:7000\"\n[[registry]]\nlocation = \"127.0.0.1:7000\"\ninsecure = true\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]types.OptionalBool{
		"localhost:5000/x":         types.OptionalBoolTrue,
		"localhost/x/y":            types.OptionalBoolTrue,
		"127.0.0.1:5000/x":         types.OptionalBoolTrue,
		"127.99.0.1/x":             types.OptionalBoolTrue,
		"localhost:7000/x":         types.OptionalBoolUndefined,
		"127.0.0.1:7000/x":         types.OptionalBoolUndefined, // the library reads it there
		"docker.io/library/x":      types.OptionalBoolUndefined,
		"128.0.0.1:5000/x":         types.OptionalBoolUndefined,
		"localhost.example.com/x":  types.OptionalBoolUndefined,
		"127.0.0.1.example.com/x":  types.OptionalBoolUndefined,
		"registry.localhost:500/x": types.OptionalBoolUndefined,
	} {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		sys := &types.SystemContext{SystemRegistriesConfPath: conf}
		if _, err := PlaceOf(sys, named); err != nil || sys.DockerInsecureSkipTLSVerify != want {
			t.Errorf("PlaceOf %s: %v, %v; want %v", name, sys.DockerInsecureSkipTLSVerify, err, want)
		}
		sys = &types.SystemContext{SystemRegistriesConfPath: conf}
		if err := trustLoopback(sys, named); err != nil || sys.DockerInsecureSkipTLSVerify != want {
			t.Errorf("reading %s: %v, %v; want %v", name, sys.DockerInsecureSkipTLSVerify, err, want)
		}
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolFalse
		if err := trustLoopback(sys, named); err != nil || sys.DockerInsecureSkipTLSVerify != types.OptionalBoolFalse {
			t.Errorf("%s with --tls-verify: %v, %v", name, sys.DockerInsecureSkipTLSVerify, err)
		}
	}
}

func TestOnLoopback(t *testing.T) {
	for registry, want := range map[string]bool{
		"[::1]:5000": true, "[::1]": true, "localhost": true, "[2001:db8::1]:5000": false, "quay.io": false,
	} {
		if onLoopback(registry) != want {
			t.Errorf("%s: %v", registry, !want)
		}
	}
}
