// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// The layers of an image that goes during a build stay until the build is done.
func TestHeldLayers(t *testing.T) {
	for name, kill := range map[string]bool{"released": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			s, img := pulled(t)
			top := s.TopLayer(img)
			release, err := s.HoldLayers()
			if err != nil {
				t.Fatal(err)
			}
			second, err := s.HoldLayers()
			if err != nil {
				t.Fatal(err)
			}
			remove(t, s, "many")
			if _, err := s.Resolve("many"); err == nil {
				t.Error("the image is still there")
			}
			// Debris of others is cleared away meanwhile, and prune looks around.
			if err := os.WriteFile(filepath.Join(s.opsDir(), "op-1"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			checkClean(t, s)
			if _, err := s.Prune(context.Background(), PruneOptions{All: true}); err != nil {
				t.Fatal(err)
			}
			if err := second(); err != nil {
				t.Fatal(err)
			}
			if !s.LayerExists(top.ID) {
				t.Fatal("a layer went under a build")
			}
			if kill {
				// The kernel gives the lock of a killed process back.
				holds, _ := filepath.Glob(filepath.Join(s.opsDir(), "hold-*"))
				if len(holds) != 1 {
					t.Fatalf("files %v", holds)
				}
				if err := os.Rename(holds[0], holds[0]+".moved"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(holds[0], nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(holds[0] + ".moved"); err != nil {
					t.Fatal(err)
				}
				checkClean(t, s)
			} else if err := release(); err != nil {
				t.Fatal(err)
			}
			if s.LayerExists(top.ID) {
				t.Error("the layers are still there")
			}
			noLeftovers(t, s)
			if left, _ := filepath.Glob(filepath.Join(s.opsDir(), "[^hlm]*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			images, err := s.store.Images()
			if err != nil || len(images) > 0 {
				t.Errorf("records are left: %v %v", images, err)
			}
			_ = release()
		})
	}
}

// A broken image that a repair removes leaves its layers to a build as well.
func TestHeldLayersRepair(t *testing.T) {
	s, img := pulled(t)
	top := s.TopLayer(img)
	release, err := s.HoldLayers()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.root, "overlay-images", img.ID, "manifest"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := s.Check(context.Background(), CheckOptions{Repair: true}, nil)
	if err != nil || len(found) != 1 || !found[0].Repaired {
		t.Fatalf("findings %+v: %v", found, err)
	}
	if !s.LayerExists(top.ID) {
		t.Error("a layer went under a build")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if s.LayerExists(top.ID) {
		t.Error("the layers are still there")
	}
}

// The file of a killed build goes with the next build: only those that run have one.
func TestHoldsOfKilledBuilds(t *testing.T) {
	s, _ := pulled(t)
	left := filepath.Join(s.opsDir(), "hold-left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := s.HoldLayers()
	if err != nil {
		t.Fatal(err)
	}
	if holds, _ := filepath.Glob(filepath.Join(s.opsDir(), "hold-*")); len(holds) != 1 || holds[0] == left {
		t.Errorf("files %v", holds)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if holds, _ := filepath.Glob(filepath.Join(s.opsDir(), "hold-*")); len(holds) != 0 {
		t.Errorf("afterwards %v", holds)
	}
}
