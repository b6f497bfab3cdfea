// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
)

// CheckOptions say how deep Check looks.
type CheckOptions struct {
	Quick  bool // only records: no layer content is read
	Repair bool // remove what is broken, with the images that need it
}

// Finding is one thing that Check found.
type Finding struct {
	Image    string // id; empty: a layer that no image has
	Name     string // familiar, where there is one
	Layer    string // id; empty: the image's own record
	Problem  string
	Repaired bool
}

// Check verifies the records and the content of all images. With Repair it
// removes broken images and layers: what is then missing can be pulled again.
// An image in use (see RemoveOptions.InUse) is reported and left.
func (s *Store) Check(ctx context.Context, o CheckOptions, inUse func(id string) string) (out []Finding, err error) {
	if o.Repair {
		s.makeRoom()
	}
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	images, err := op.store.Images()
	if err != nil {
		return nil, errs.Wrap(err, "read the records of", s.root)
	}
	bad := map[string]string{} // layer -> problem
	good := map[string]bool{}
	for i := range images {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		f := op.checkImage(&images[i], o, good, bad)
		if f == nil {
			continue
		}
		if o.Repair && (inUse == nil || inUse(f.Image) == "") {
			if _, derr := op.deleteImage(f.Image, images[i].TopLayer); derr == nil {
				f.Repaired = true
			} else {
				f.Problem += "; it cannot be removed: " + derr.Error()
			}
		}
		out = append(out, *f)
	}
	return out, nil
}

func (o *op) checkImage(img *storage.Image, co CheckOptions, good map[string]bool, bad map[string]string) *Finding {
	f := &Finding{Image: img.ID}
	if len(img.Names) > 0 {
		f.Name = imagename.Familiar(img.Names[0])
	}
	for _, key := range img.BigDataNames {
		data, err := o.store.ImageBigData(img.ID, key)
		if err == nil && img.BigDataDigests[key] != "" && digest.FromBytes(data) != img.BigDataDigests[key] {
			err = errors.New("its content changed")
		}
		if err != nil {
			f.Problem = fmt.Sprintf("item %s: %v", key, err)
			return f
		}
	}
	if raw, err := o.store.ImageBigData(img.ID, "manifest"); err == nil && !json.Valid(raw) {
		f.Problem = "the manifest is not JSON"
		return f
	}
	for id := img.TopLayer; id != ""; {
		l, err := o.store.Layer(id)
		if err != nil {
			f.Layer, f.Problem = id, "the layer is missing"
			return f
		}
		if !good[id] && bad[id] == "" {
			if p := o.checkLayer(l, co); p != "" {
				bad[id] = p
			} else {
				good[id] = true
			}
		}
		if bad[id] != "" {
			f.Layer, f.Problem = id, bad[id]
			return f
		}
		id = l.Parent
	}
	return nil
}

// checkLayer reads a layer as the archive that it came as: its digest covers
// every byte.
func (o *op) checkLayer(l *storage.Layer, co CheckOptions) string {
	if _, err := os.Stat(o.s.layerDir(l.ID)); err != nil {
		return "the layer's directory is missing"
	}
	if co.Quick || l.UncompressedDigest == "" {
		return ""
	}
	rc, err := o.store.Diff("", l.ID, nil)
	if err != nil {
		return fmt.Sprintf("the layer cannot be read: %v", err)
	}
	defer rc.Close()
	got, err := digest.FromReader(rc)
	if err != nil {
		return fmt.Sprintf("the layer cannot be read: %v", err)
	}
	if got != l.UncompressedDigest {
		return "the layer's content changed"
	}
	return ""
}
