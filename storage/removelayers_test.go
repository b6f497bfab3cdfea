// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"errors"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Between the look at the layers and their deletion other commands make layers and
// images of them, and delete some.
func TestDeleteLayersMeanwhile(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, "")
	add := func(name string, parent Layer) Layer {
		t.Helper()
		l, err := s.AddLayer(ctx, bytes.NewReader(tarOf(t, file(name, name))), parent)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	base := add("base", Layer{})
	parent, top, gone, free := add("parent", base), add("top", base), add("gone", base), add("free", base)
	alone := add("alone", Layer{})
	o, err := s.begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer o.end(&err)
	layers, err := o.store.Layers()
	if err != nil {
		t.Fatal(err)
	}
	child := add("child", parent)
	var c dockerspec.DockerOCIImage
	c.OS, c.Architecture = "linux", "amd64"
	if _, err := s.CreateImage(ctx, CreateOptions{Config: c, Top: top}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemoveLayers(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.RemoveLayers(stopped, free.ID); !errors.Is(err, context.Canceled) || !s.LayerExists(free.ID) {
		t.Errorf("called off: %v", err)
	}
	size, err := s.deleteLayers(ctx, o.store, layers, map[string]bool{})
	if err != nil || size != free.Size+alone.Size {
		t.Errorf("%d bytes given back, want %d (%v)", size, free.Size+alone.Size, err)
	}
	for l, want := range map[Layer]bool{base: true, parent: true, top: true, child: true, gone: false, free: false, alone: false} {
		if s.LayerExists(l.ID) != want {
			t.Errorf("layer %s is there: %v, want %v", l.ID[:12], !want, want)
		}
	}
}
