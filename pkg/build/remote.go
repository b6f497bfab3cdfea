// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// remoteItem fetches what ADD names by URL: a file, or a git repository.
func (s *stage) remoteItem(ctx context.Context, src string, j copyJob, closers *[]func()) ([]item, error) {
	if source.IsGit(src) {
		return s.gitItem(ctx, src, j, closers)
	}
	u, err := url.Parse(src)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad URL %q", redact.URL(src))
	}
	base := path.Base(u.Path)
	if (base == "/" || base == ".") && strings.HasSuffix(j.sources.DestPath, "/") {
		return nil, errs.New(errs.Invalid, "cannot determine filename for source %s: give the destination a name", redact.URL(src))
	}
	d, err := source.Fetch(ctx, src, s.b.tmp)
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { os.Remove(d.Path) })
	if want := j.checksum; want != "" && want != "sha256:"+d.SHA256 {
		return nil, errs.New(errs.Corrupt, "digest mismatch sha256:%s: %s (from %s)", d.SHA256, want, redact.URL(src))
	}
	it := item{file: d, base: base}
	if j.unpack != nil && *j.unpack { // an archive from elsewhere is only unpacked on demand
		f, err := os.Open(d.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		it.archive = files.IsTar(f)
	}
	return []item{it}, nil
}

// gitItem fetches a repository; its content goes into the destination.
func (s *stage) gitItem(ctx context.Context, src string, j copyJob, closers *[]func()) ([]item, error) {
	dir, err := os.MkdirTemp(s.b.tmp, "git-")
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { _ = rmtree.Remove(dir) })
	top, err := source.Clone(ctx, src, dir, j.keepGit != nil && *j.keepGit, j.checksum)
	if err != nil {
		return nil, err
	}
	r, err := files.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() { r.Close() })
	w := &files.Walker{Root: r}
	if err := w.Add("", ""); err != nil {
		return nil, err
	}
	return []item{{walker: w, dir: true}}, nil
}
