// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"runtime"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec/platforms"
	"github.com/proa-containers/proa/storage/hello"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/progress"
)

// builtinRepo is the name of the image that Proa carries itself. It lies under
// localhost/, so that it shadows nothing that a registry offers.
const builtinRepo = "localhost/hello"

// isBuiltin reports whether a name to be pulled is the image that Proa carries
// itself. No registry is asked for these names, so they never mean anything
// else.
func isBuiltin(ref string, n reference.Named) bool {
	if n.String() == builtinRepo+":latest" {
		return true
	}
	return imagename.IsShort(ref) && reference.FamiliarString(n) == "hello:latest"
}

// pullBuiltin unpacks the built-in image as localhost/hello:latest.
func (s *Store) pullBuiltin(ctx context.Context, o PullOptions) (_ *Image, err error) {
	if o.Platform != "" {
		if osName, arch, _ := platforms.Split(o.Platform); osName != runtime.GOOS || arch != runtime.GOARCH {
			return nil, errs.New(errs.NotFound, "the built-in image is for %s/%s, not for %s", runtime.GOOS, runtime.GOARCH, o.Platform)
		}
	}
	tell := &progress.Teller{To: o.Progress}
	tell.Line("latest: Unpacking hello, which is part of proa itself")
	id, err := s.addBuiltin(ctx, tell)
	if err != nil {
		return nil, errs.Wrap(err, "unpack the built-in image", "hello")
	}
	tell.Line("Status: Image is ready: " + builtinRepo + ":latest")
	return s.Resolve(id)
}

func (s *Store) addBuiltin(ctx context.Context, tell *progress.Teller) (id string, err error) {
	op, err := s.begin(true)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	program, err := hello.ELF(runtime.GOARCH)
	if err != nil {
		return "", err
	}
	layer, err := helloLayer(program)
	if err != nil {
		return "", err
	}
	top, err := op.addLayer(bytes.NewReader(layer), Layer{}, index.LayerImage)
	if err != nil {
		return "", err
	}
	tell.Layer(progress.Event{ID: top.DiffID.Encoded()[:12], State: progress.Done})
	var c dockerspec.DockerOCIImage
	// The image is the same wherever and whenever it is made.
	c.Created = &hello.Made
	c.Architecture, c.OS = runtime.GOARCH, "linux"
	c.Config.Cmd = []string{"/hello"}
	c.Config.Env = []string{"PATH=/"}
	c.History = append(c.History, historyOf(hello.Made, "proa: /hello", "carried by proa itself", false))
	return op.create(ctx, CreateOptions{Config: c, Top: top, Names: []string{builtinRepo + ":latest"}})
}

func helloLayer(program []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	at := hello.Made.Truncate(time.Second)
	err := w.WriteHeader(&tar.Header{Name: "hello", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program)), ModTime: at})
	if err == nil {
		_, err = w.Write(program)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}
