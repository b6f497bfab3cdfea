// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// copyJob is one COPY or ADD.
type copyJob struct {
	sources      instructions.SourcesAndDest
	from         string
	chown, chmod string
	link         bool
	parents      bool
	exclude      []string
	checksum     string
	keepGit      *bool
	unpack       *bool
	add          bool
	name         string
}

// item is one thing to copy, found and, where it comes from the host, read.
type item struct {
	walker  *files.Walker
	dir     bool          // its content goes into the destination
	base    string        // name in the destination directory
	parents []files.Entry // with --parents: the directories to keep, outermost first
	archive bool          // to be unpacked
	inline  *instructions.SourceContent
	file    *source.Download
}

func (s *stage) runCopy(ctx context.Context, ref StepRef, j copyJob) error {
	mode, err := files.ParseMode(j.chmod)
	if err != nil {
		return err
	}
	if err := j.check(); err != nil {
		return err
	}
	dest := s.destPath(j.sources.DestPath)
	lazy, id, err := s.b.sourceTree(ctx, j.from, s.plan.Index)
	if err != nil {
		return err
	}
	below := s.key
	if j.link {
		below = "link"
		if err := s.linkOwner(ctx, &j); err != nil {
			return err
		}
	}
	key := cache.NewKey(below, j.name, dest, j.chown, j.chmod, strconv.FormatBool(j.link), strconv.FormatBool(j.parents), jsonText(j.exclude), j.checksum)
	step := stepWork{link: j.link, createdBy: j.name + " " + strings.Join(append(sourceNames(j), dest), " ")}
	if id != "" {
		// A stage or an image: what led to it names its content.
		quick := key
		quick.Add("from", id)
		quick.Add(j.sources.SourcePaths...)
		quick.Add(jsonText(j.sources.SourceContents))
		step.key = quick.Sum()
		step.work = func(sc Scratch) error {
			items, done, err := s.collect(ctx, lazy, j)
			defer done()
			if err != nil {
				return err
			}
			return s.writeItems(sc, j, items, dest, mode)
		}
		return s.doStep(ctx, ref, step)
	}
	items, done, err := s.collect(ctx, lazy, j)
	defer done()
	if err != nil {
		return err
	}
	if err := digestItems(key, items, false); err != nil {
		return err
	}
	step.key = key.Sum()
	step.work = func(sc Scratch) error { return s.writeItems(sc, j, items, dest, mode) }
	return s.doStep(ctx, ref, step)
}

// check refuses what the flags cannot mean together.
func (j *copyJob) check() error {
	for _, src := range j.sources.SourcePaths {
		switch {
		case !j.add && isRemote(src):
			return errs.WithHint(errs.New(errs.Invalid, "source can't be a URL for COPY: %s", redact.URL(src)), "use ADD")
		case j.checksum != "" && len(j.sources.SourcePaths) > 1:
			return errs.New(errs.Invalid, "checksum can't be specified for multiple sources")
		case j.checksum != "" && !isRemote(src):
			return errs.New(errs.Invalid, "checksum requires HTTP(S) or Git sources")
		}
	}
	return nil
}

// sourceNames are the sources as history shows them: whoever gets the image sees
// it, so no account is in there.
func sourceNames(j copyJob) []string {
	var names []string
	for _, src := range j.sources.SourcePaths {
		names = append(names, redact.URL(src))
	}
	for _, c := range j.sources.SourceContents {
		names = append(names, "<<"+c.Path)
	}
	return names
}

// destPath makes the destination absolute and keeps a trailing slash, which
// means "a directory".
func (s *stage) destPath(p string) string {
	slash := strings.HasSuffix(p, "/") || p == "." || strings.HasSuffix(p, "/.")
	if !path.IsAbs(p) {
		p = path.Join("/", s.image.Config.WorkingDir, p)
	}
	p = path.Clean(p)
	if slash && p != "/" {
		p += "/"
	}
	return p
}

// collect finds everything that the instruction copies. done releases it.
func (s *stage) collect(ctx context.Context, lazy *lazyTree, j copyJob) (items []item, done func(), err error) {
	var closers []func()
	done = func() {
		for _, c := range closers {
			c()
		}
	}
	t, err := lazy.get(ctx)
	if err != nil {
		return nil, done, err
	}
	f := files.Filter{Ignore: t.Ignore}
	if len(j.exclude) > 0 {
		if f.Exclude, err = patternmatcher.New(j.exclude); err != nil {
			return nil, done, errs.New(errs.Invalid, "bad --exclude pattern: %v", err)
		}
	}
	r, err := files.OpenRoot(t.Root)
	if err != nil {
		return nil, done, err
	}
	closers = append(closers, func() { r.Close() })
	for _, src := range j.sources.SourcePaths {
		var found []item
		if j.add && isRemote(src) {
			found, err = s.remoteItem(ctx, src, j, &closers)
		} else {
			found, err = localItems(r, f, src, j)
		}
		if err != nil {
			return nil, done, err
		}
		items = append(items, found...)
	}
	for i := range j.sources.SourceContents {
		c := j.sources.SourceContents[i]
		items = append(items, item{inline: &c, base: path.Base(c.Path)})
	}
	return items, done, nil
}

func isRemote(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://") || source.IsGit(src)
}

// localItems finds what one source path names below a root.
func localItems(r *files.Root, f files.Filter, src string, j copyJob) ([]item, error) {
	pivot, pattern := "", src
	if j.parents {
		if before, after, ok := strings.Cut(src, "/./"); ok {
			pivot, pattern = path.Clean("/"+before), before+"/"+after
		}
	}
	finder := &files.Walker{Root: r, Filter: f}
	paths, err := finder.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, p := range paths {
		kept := ""
		if j.parents {
			kept = belowPivot(p, pivot)
		}
		it, err := localItem(r, f, p, kept, j)
		if err != nil {
			return nil, err
		}
		if it == nil {
			continue
		}
		if j.parents {
			if it.parents, err = keptParents(r, p, kept, it.dir); err != nil {
				return nil, err
			}
		}
		items = append(items, *it)
	}
	if len(items) == 0 && !hasWildcard(src) { // as in BuildKit (AllowEmptyWildcard), a pattern may match nothing
		return nil, errs.WithHint(errs.New(errs.NotFound, "%s failed: file not found in build context or excluded by .dockerignore: stat %s: file does not exist", j.name, redact.URL(src)),
			"paths are relative to the build context, and nothing outside it can be copied")
	}
	return items, nil
}

// hasWildcard says whether a source is a pattern. What follows a backslash stands
// for itself.
func hasWildcard(src string) bool {
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '*', '?', '[':
			return true
		case '\\':
			i++
		}
	}
	return false
}

// belowPivot is the part of p that --parents keeps. The pivot may have wildcards:
// what counts is how many names it has.
func belowPivot(p, pivot string) string {
	names := strings.Split(strings.Trim(p, "/"), "/")
	return strings.Join(names[min(strings.Count(strings.TrimRight(pivot, "/"), "/"), len(names)):], "/")
}

// keptParents are the directories of kept, which is the end of p, as they are in
// the source.
func keptParents(r *files.Root, p, kept string, dir bool) ([]files.Entry, error) {
	names := strings.Split(kept, "/")
	if !dir {
		names = names[:len(names)-1]
	}
	above := strings.TrimSuffix(strings.Trim(p, "/"), kept)
	var out []files.Entry
	for i := range names {
		if names[i] == "" {
			continue
		}
		rel := strings.Join(names[:i+1], "/")
		st, err := r.Stat(above + rel)
		if err != nil {
			return nil, err
		}
		out = append(out, files.Entry{Path: above + rel, Rel: rel, Stat: st})
	}
	return out, nil
}

// shownName is the name by which --exclude patterns see p: with --parents all
// that is kept of it, else a file's own; of a directory they see what is in it.
func shownName(p, kept string, dir bool) string {
	switch {
	case kept != "":
		return kept
	case dir:
		return ""
	}
	return path.Base("/" + p)
}

// localItem finds one path. It returns nil for what the ignore file leaves out.
func localItem(r *files.Root, f files.Filter, p, kept string, j copyJob) (*item, error) {
	w := &files.Walker{Root: r, Filter: f}
	top := p
	st, err := r.Lstat(p)
	if err != nil {
		return nil, err
	}
	// A link given by name is followed, inside the root.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		real, err := r.ResolveLink(p)
		if err != nil {
			return nil, errs.New(errs.NotFound, "%s failed: %q is a link that leads nowhere inside the source", j.name, p)
		}
		top = real
		if st, err = r.Lstat(top); err != nil {
			return nil, err
		}
	}
	ignored, err := w.Ignored(strings.Trim(p, "/"))
	if err != nil {
		return nil, err
	}
	if ignored && !w.CanReinclude() {
		return nil, nil
	}
	it := &item{walker: w, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, base: path.Base("/" + p)}
	if err := w.AddNamed(top, "", shownName(p, kept, it.dir)); err != nil {
		return nil, err
	}
	if len(w.Entries) == 0 {
		if len(j.exclude) > 0 {
			return it, nil // nothing of it is wanted
		}
		return nil, nil
	}
	if j.add && !it.dir && (j.unpack == nil || *j.unpack) {
		it.archive = r.IsArchive(top)
	}
	return it, nil
}

// digestItems adds the content of what is copied to a key.
func digestItems(key cache.Key, items []item, owners bool) error {
	for i := range items {
		it := &items[i]
		key.Add(it.base, strconv.Itoa(len(it.parents)))
		for k := range it.parents {
			key.Add(it.parents[k].Rel, strconv.FormatUint(uint64(it.parents[k].Stat.Mode), 8))
		}
		key.Add(strconv.FormatBool(it.dir), strconv.FormatBool(it.archive))
		h := sha256.New()
		switch {
		case it.inline != nil:
			io.WriteString(h, it.inline.Data) //nolint:errcheck // a hash never fails
		case it.file != nil:
			io.WriteString(h, it.file.SHA256) //nolint:errcheck // a hash never fails
		default:
			if err := it.walker.Digest(h, owners); err != nil {
				return err
			}
		}
		key.Add(hex.EncodeToString(h.Sum(nil)))
	}
	return nil
}

// writeItems puts the items into the layer.
func (s *stage) writeItems(sc Scratch, j copyJob, items []item, dest string, mode *files.Mode) error {
	merged, err := sc.Merged()
	if err != nil {
		return err
	}
	r, err := files.OpenRoot(merged)
	if err != nil {
		return err
	}
	defer r.Close()
	c := files.NewCopier(r)
	defer c.Close()
	c.Chmod, c.Epoch = mode, s.b.layerEpoch()
	if c.Owner, err = s.copyOwner(r, j); err != nil {
		return err
	}
	if len(items) > 1 && !strings.HasSuffix(dest, "/") && !j.parents {
		return errs.WithHint(errs.New(errs.Invalid, "when using %s with more than one source file, the destination must be a directory and end with a /", j.name), "write %s/", dest)
	}
	for i := range items {
		if err := s.writeItem(c, &items[i], dest, j); err != nil {
			return err
		}
	}
	return nil
}

// copyOwner is who owns the copies: --chown, else root for the host's files,
// else (nil) whoever owned them in the stage.
func (s *stage) copyOwner(r *files.Root, j copyJob) (*files.Owner, error) {
	if j.chown != "" {
		own, err := files.LookupOwner(r, j.chown)
		if err != nil {
			return nil, err
		}
		return &own, nil
	}
	if j.from == "" || s.b.isHostContext(j.from) {
		return &files.Owner{}, nil
	}
	return nil, nil
}

func (b *builder) isHostContext(name string) bool {
	v, ok := b.o.Contexts.Lookup(name)
	return ok && !source.IsImageContext(v)
}

func (s *stage) writeItem(c *files.Copier, it *item, dest string, j copyJob) error {
	target := dest
	if j.parents {
		target = path.Join(dest, ".") + "/"
		for i := range it.parents {
			target = path.Join(dest, it.parents[i].Rel) + "/"
			if err := c.MakeMissing(&it.parents[i], target); err != nil {
				return err
			}
		}
	}
	switch {
	case it.archive:
		return unpackItem(c, it, target)
	case it.dir:
		return c.CopyAll(it.walker, target)
	}
	if strings.HasSuffix(target, "/") || c.Root.IsDir(target) {
		target = path.Join(target, it.base)
	}
	switch {
	case it.inline != nil:
		text := it.inline.Data
		return c.WriteFile(target, strings.NewReader(text), 0o644, *s.b.now())
	case it.file != nil:
		return writeDownload(c, it.file, target)
	}
	return c.CopyAll(it.walker, target)
}

func (it *item) openArchive() (*os.File, error) {
	if it.file != nil {
		return os.Open(it.file.Path)
	}
	fd, err := it.walker.Root.Open(it.walker.Entries[0].Path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), it.base), nil
}

func unpackItem(c *files.Copier, it *item, dest string) error {
	f, err := it.openArchive()
	if err != nil {
		return err
	}
	defer f.Close()
	dfd, err := c.Root.MkdirAll(dest, 0o755, files.Owner{})
	if err != nil {
		return err
	}
	unix.Close(dfd)
	own := c.Owner
	if own != nil && *own == (files.Owner{}) {
		own = nil // the archive's own owners stand, as in Docker
	}
	return files.Extract(c.Root, dest, f, files.ExtractOptions{Owner: own, Chmod: c.Chmod, Epoch: c.Epoch})
}

// writeDownload puts a fetched file into the layer.
func writeDownload(c *files.Copier, d *source.Download, target string) error {
	f, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.WriteFile(target, f, 0o600, d.ModTime)
}
