// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
	"github.com/proa-containers/proa/pkg/spec/platforms"
	"github.com/proa-containers/proa/storage/changes"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
)

// ImportOptions describe the image that Import makes.
type ImportOptions struct {
	Path     string    // a tar archive or a http(s) URL; empty: Input
	Input    io.Reader // with an empty Path
	Name     string    // repository[:tag]; empty: none
	Changes  []string  // Dockerfile instructions: CMD, ENV, ...
	Message  string
	Platform string
	Progress Progress
}

// Import makes an image of a tar archive of a root file system.
func (s *Store) Import(ctx context.Context, o ImportOptions) (*Image, error) {
	c := dockerspec.DockerOCIImage{}
	now := time.Now().UTC()
	c.Created = &now
	c.OS, c.Architecture, c.Variant = platforms.Split(o.Platform)
	if o.Platform == "" {
		c.OS, c.Architecture, c.Variant = platforms.Split("linux")
	}
	if err := changes.Apply(&c.Config, o.Changes); err != nil {
		return nil, err
	}
	var names []string
	if o.Name != "" {
		n, err := imagename.Normalize(o.Name)
		if err != nil {
			return nil, err
		}
		names = []string{n}
	}
	in, from, err := openImport(ctx, o)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	comment := o.Message
	if comment == "" {
		comment = "Imported from " + from
	}
	c.History = append(c.History, historyOf(now, "", comment, false))
	id, err := s.importLayer(ctx, in, CreateOptions{Config: c, Comment: o.Message, Names: names})
	if err != nil {
		return nil, errs.Wrap(err, "import", from)
	}
	return s.Resolve(id)
}

func openImport(ctx context.Context, o ImportOptions) (io.ReadCloser, string, error) {
	switch {
	case o.Path == "" || o.Path == "-":
		if o.Input == nil {
			return nil, "", errs.New(errs.Invalid, "no archive was given")
		}
		return io.NopCloser(o.Input), "-", nil
	case strings.HasPrefix(o.Path, "http://"), strings.HasPrefix(o.Path, "https://"):
		shown := redact.URL(o.Path) // the image's history says where it is from
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Path, nil)
		if err != nil {
			return nil, "", errs.New(errs.Invalid, "bad URL %q", shown)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			var request *url.Error
			if errors.As(err, &request) {
				err = request.Err // it names the URL once more
			}
			return nil, "", errs.New(errs.Unavailable, "cannot download %s: %w", shown, err)
		}
		if res.StatusCode != http.StatusOK {
			res.Body.Close()
			return nil, "", errs.New(errs.Unavailable, "cannot download %s: the server answers %s", shown, res.Status)
		}
		return res.Body, shown, nil
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, "", errs.OfFile(err)
	}
	return f, o.Path, nil
}

func (s *Store) importLayer(ctx context.Context, in io.Reader, c CreateOptions) (id string, err error) {
	op, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	if c.Top, err = op.addLayer(in, Layer{}, index.LayerImage); err != nil {
		return "", err
	}
	return op.create(ctx, c)
}
