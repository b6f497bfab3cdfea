// SPDX-License-Identifier: Apache-2.0

package copying

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

// remote fetches what ADD names by URL: a file, or a git repository.
func (items *Items) remote(ctx context.Context, src string, s *Sources, tmp string) ([]item, error) {
	if source.IsGit(src) {
		return items.repository(ctx, src, s, tmp)
	}
	u, err := url.Parse(src)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad URL %q", redact.URL(src))
	}
	base := path.Base(u.Path)
	if (base == "/" || base == ".") && strings.HasSuffix(s.Dest, "/") {
		return nil, errs.New(errs.Invalid, "cannot determine filename for source %s: give the destination a name", redact.URL(src))
	}
	d, err := s.Web.Fetch(ctx, src, tmp)
	if err != nil {
		return nil, err
	}
	items.onClose(func() { os.Remove(d.Path) })
	if want := s.Checksum; want != "" && want != "sha256:"+d.SHA256 {
		return nil, errs.New(errs.Corrupt, "digest mismatch sha256:%s: %s (from %s)", d.SHA256, want, redact.URL(src))
	}
	one := item{file: d, base: base}
	if s.Unpack != nil && *s.Unpack { // an archive from elsewhere is only unpacked on demand
		f, err := os.Open(d.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		one.archive = files.IsTar(f)
	}
	return []item{one}, nil
}

// repository fetches a repository; its content goes into the destination.
func (items *Items) repository(ctx context.Context, src string, s *Sources, tmp string) ([]item, error) {
	dir, err := os.MkdirTemp(tmp, "git-")
	if err != nil {
		return nil, err
	}
	items.onClose(func() { _ = rmtree.Remove(dir) })
	o := source.CloneOptions{KeepGit: s.KeepGit != nil && *s.KeepGit, Checksum: s.Checksum, Web: s.Web, NoSSH: !s.SSH}
	top, err := source.Clone(ctx, src, dir, o)
	if err != nil {
		return nil, err
	}
	r, err := files.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	items.onClose(func() { r.Close() })
	w := &files.Walker{Root: r}
	if err := w.Add("", ""); err != nil {
		return nil, err
	}
	return []item{{walker: w, dir: true}}, nil
}
