// SPDX-License-Identifier: Apache-2.0

package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestParse(t *testing.T) {
	own := Own{Root: t.TempDir()}
	for in, want := range map[string]Place{
		"[overlay@/g+/r:overlay.a=b,c=d]alpine:1": {driver: "overlay", graph: "/g", run: "/r", options: []string{"overlay.a=b", "c=d"}, Image: "alpine:1"},
		"[/g]x":            {driver: "overlay", graph: "/g", run: "/g-run", Image: "x"},
		"[vfs@/g+/r]x@y]z": {driver: "vfs", graph: "/g", run: "/r", Image: "x@y]z"},
	} {
		f, err := Parse(in, own)
		if err != nil || f.driver != want.driver || f.graph != want.graph || f.run != want.run || !slices.Equal(f.options, want.options) || f.Image != want.Image {
			t.Errorf("%s: got %+v, %v", in, f, err)
		}
	}
	for _, in := range []string{"", "[/g]", "[/g", "[overlay@g]x", "[overlay@" + own.Root + "]x"} {
		if f, err := Parse(in, own); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: got %+v, %v", in, f, err)
		}
	}
	// storage.conf is what the user said, not what Proa's own store reads.
	f, err := Parse("x", own)
	if err != nil || filepath.Base(f.graph) != "storage" || filepath.Base(filepath.Dir(f.graph)) != "containers" {
		if f == nil || f.graph != "/var/lib/containers/storage" { // as real root
			t.Errorf("got %+v, %v", f, err)
		}
	}
}

// The user's own storage.conf says which store is meant without a place.
func TestStorageConf(t *testing.T) {
	t.Setenv("CONTAINERS_STORAGE_CONF", os.DevNull) // what Proa reads itself
	graph := filepath.Join(t.TempDir(), "g")
	conf := filepath.Join(t.TempDir(), "storage.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", graph, graph+"-r")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Parse("x", Own{Root: t.TempDir(), Conf: conf})
	if err != nil || f.graph != graph || f.driver != "vfs" || f.run != graph+"-r" {
		t.Errorf("%+v %v", f, err)
	}
	if os.Getenv("CONTAINERS_STORAGE_CONF") != os.DevNull {
		t.Error("the environment was changed")
	}
	// Proa's own directory by another path.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.MkdirAll(graph, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(graph, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("x", Own{Root: link, Conf: conf}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestNoStoreThere(t *testing.T) {
	f, err := Parse("["+t.TempDir()+"]x", Own{})
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	if _, _, err := f.Read(tmp); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if ents, err := os.ReadDir(tmp); err != nil || len(ents) != 0 {
		t.Error(ents, err)
	}
}

// The scopes of policy.json for images of a store, from the narrowest on.
func TestScopes(t *testing.T) {
	f := &Place{driver: "overlay", graph: "/g/"}
	ref := f.As(nil, []string{"docker.io/library/alpine:3"}, "abc")
	if got, want := ref.PolicyConfigurationIdentity(), "[overlay@/g]docker.io/library/alpine:3@abc"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := []string{"[overlay@/g]docker.io/library/alpine:3", "[overlay@/g]docker.io/library/alpine", "[overlay@/g]docker.io/library",
		"[overlay@/g]docker.io", "[overlay@/g]", "[/g]"}
	if got := ref.PolicyConfigurationNamespaces(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if n := ref.DockerReference(); n == nil || n.String() != "docker.io/library/alpine:3" {
		t.Error(n)
	}
	ref = f.As(nil, nil, "abc")
	if got := ref.PolicyConfigurationNamespaces(); ref.PolicyConfigurationIdentity() != "[overlay@/g]@abc" || !slices.Equal(got, want[4:]) || ref.DockerReference() != nil {
		t.Errorf("without a name: %s %q", ref.PolicyConfigurationIdentity(), got)
	}
}
