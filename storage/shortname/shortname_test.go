// SPDX-License-Identifier: Apache-2.0

package shortname

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
)

// home is a user without any file but a registries.conf.
func home(t *testing.T, registriesConf string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "registries.conf")
	put(t, conf, registriesConf)
	for k, v := range map[string]string{
		"HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "config"), "XDG_CACHE_HOME": filepath.Join(dir, "cache"), "CONTAINERS_REGISTRIES_CONF": conf,
	} {
		t.Setenv(k, v)
	}
	return dir
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCandidates(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	try := func(conf string, want map[string]string) {
		t.Helper()
		home(t, conf)
		for name, want := range want {
			var got []string
			list, err := Candidates(name)
			for _, n := range list {
				got = append(got, n.String())
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%s: got %q, %v; want %s", name, got, err, want)
			}
		}
	}
	try("", map[string]string{
		"alpine": "docker.io/library/alpine:latest", "me/app:1": "docker.io/me/app:1", "alpine" + digest: "docker.io/library/alpine" + digest,
		"localhost/x": "localhost/x:latest", "reg.example:5000/x:1": "reg.example:5000/x:1",
	})
	try("unqualified-search-registries = [\"one.example\", \"docker.io\"]\n[aliases]\n\"short\" = \"two.example/long/name\"\n", map[string]string{
		"alpine:3": "one.example/alpine:3 docker.io/library/alpine:3", "docker.io/alpine": "docker.io/library/alpine:latest",
		"short": "two.example/long/name:latest", "short:7": "two.example/long/name:7", "short" + digest: "two.example/long/name" + digest,
	})
	if _, err := Candidates("UPPER"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// library is what the image library makes of registries.conf for a name.
func library(t *testing.T, name string) []string {
	t.Helper()
	sysregistriesv2.InvalidateCache()
	alias, _, err := sysregistriesv2.ResolveShortNameAlias(nil, name)
	if err != nil {
		return nil
	}
	if alias != nil {
		return []string{alias.Name() + ":latest"}
	}
	search, err := sysregistriesv2.UnqualifiedSearchRegistries(nil)
	if err != nil {
		return nil
	}
	var out []string
	for _, r := range search {
		n, err := reference.ParseNormalizedNamed(r + "/" + name)
		if err != nil {
			return nil
		}
		out = append(out, reference.TagNameOnly(n).String())
	}
	if out == nil {
		n, err := imagename.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n.String())
	}
	return out
}

// TestAsLibrary: this package and the image library, which pulls, must not
// mean different images.
func TestAsLibrary(t *testing.T) {
	const search = "unqualified-search-registries = [\"one.example\", \"two.example:5000\"]\n"
	for title, c := range map[string]struct {
		main string
		more map[string]string // below the home directory
		env  map[string]string
	}{
		"nothing":            {},
		"an empty list":      {main: "unqualified-search-registries = []\n"},
		"aliases":            {main: search + "[aliases]\nshort = \"docker.io/alpine\"\n\"a/b\" = \"localhost/x\"\n"},
		"an alias of docker": {main: "[aliases]\nshort = \"docker.io/x/y\"\n"},
		"no such alias":      {main: search + "[aliases]\nshort = \"\"\n"},
		"remembered": {main: search + "[aliases]\nshort = \"one.example/x\"\n",
			more: map[string]string{"cache/containers/short-name-aliases.conf": "[aliases]\n  \"short\" = \"three.example/y\"\n"}},
		"forgotten": {main: search + "[aliases]\nshort = \"one.example/x\"\n",
			more: map[string]string{"cache/containers/short-name-aliases.conf": "[aliases]\nshort = \"\"\n"}},
		"an override": {main: search + "[aliases]\nshort = \"one.example/x\"\n",
			more: map[string]string{"more.conf": "unqualified-search-registries = [\"three.example\"]\n[aliases]\nshort = \"\"\n"},
			env:  map[string]string{"CONTAINERS_REGISTRIES_CONF_OVERRIDE": "more.conf"}},
		"drop-ins": {env: map[string]string{"CONTAINERS_REGISTRIES_CONF": ""},
			more: map[string]string{"config/containers/registries.conf": search, "config/containers/registries.conf.d/1.conf": "[aliases]\nshort = \"four.example/z\"\n",
				"config/containers/registries.conf.d/2.conf": "unqualified-search-registries = [\"five.example\"]\n"}},
		"not the name of a registry": {main: "unqualified-search-registries = [\"not a registry\"]\n"},
		"an alias with a tag":        {main: "[aliases]\nshort = \"one.example/x:1\"\n"},
		"an alias without registry":  {main: "[aliases]\nshort = \"x\"\n"},
		"a name with a registry":     {main: "[aliases]\n\"one.example/x\" = \"two.example/x\"\n"},
		"a name with a tag":          {main: "[aliases]\n\"x:1\" = \"two.example/x\"\n"},
		"version 1":                  {main: "[registries.search]\nregistries = [\"one.example\"]\n"},
		"no TOML":                    {main: "short = \n"},
		"another type":               {main: "unqualified-search-registries = \"one.example\"\n"},
		"fields of others":           {main: search + "short-name-mode = \"enforcing\"\nnew = 1\n[[registry]]\nlocation = \"x.example\"\n"},
	} {
		t.Run(title, func(t *testing.T) {
			dir := home(t, c.main)
			for file, text := range c.more {
				put(t, filepath.Join(dir, file), text)
			}
			for k, v := range c.env {
				if v != "" {
					v = filepath.Join(dir, v)
				}
				t.Setenv(k, v)
			}
			for _, name := range []string{"short", "alpine", "a/b"} {
				var got []string
				list, err := Candidates(name)
				for _, n := range list {
					got = append(got, n.String())
				}
				if want := library(t, name); strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("%s: got %q, %v; the library says %q", name, got, err, want)
				} else if want == nil && !errs.Is(err, errs.Invalid) {
					t.Errorf("%s: %v has not the kind of invalid input", name, err)
				}
			}
		})
	}
}

// FuzzAliases: no file makes the reader panic, or lets through what the library refuses.
func FuzzAliases(f *testing.F) {
	f.Add("short", "one.example/x")
	f.Add("a/b", "localhost/y")
	f.Add("x:1", "z")
	f.Fuzz(func(t *testing.T, name, value string) {
		if err := checkAliases(map[string]string{name: value}); err != nil || value == "" {
			return
		}
		n, err := imagename.Parse(value)
		if err != nil || imagename.IsShort(value) {
			t.Errorf("%q = %q: %v, %v", name, value, n, err)
		}
	})
}
