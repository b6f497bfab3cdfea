// SPDX-License-Identifier: Apache-2.0

// Package copying does the work of COPY and ADD: it finds the files that sources name,
// computes a cache key from their content, and writes them below a root. Bind mounts of
// RUN find their files in the same way.
package copying

import (
	"context"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// Sources are those of one COPY or ADD, expanded.
type Sources struct {
	Name     string   // of the instruction, for messages
	Paths    []string // below a tree
	Where    string   // what messages call the tree; empty: the build context
	Inline   []instructions.SourceContent
	Mount    bool     // of a RUN: the one path is mounted
	Parents  bool     // directories of the sources are kept
	Exclude  []string // patterns
	Add      bool     // a source may be a URL or a git repository, archives are unpacked
	Checksum string   // of the one source, which is a URL or a git repository
	Web      *source.Web
	KeepGit  *bool  // nil: no
	SSH      bool   // the user lends the keys of ssh to repositories
	Unpack   *bool  // nil: archives of the tree are unpacked, downloads are not
	Dest     string // as written: a download needs a name of its own below "DIRECTORY/"
}

// Items are the found things. They are valid until Close.
type Items struct {
	name    string
	parents bool
	mount   bool
	several bool // more than one source was written: a pattern is one
	list    []item
	closers []func()
}

// item is one thing to copy, found and, where it comes from the host, read.
type item struct {
	walker  *files.Walker
	dir     bool          // its content goes into the destination
	base    string        // name in the destination directory
	parents []files.Entry // the directories to keep, outermost first
	archive bool          // to be unpacked
	inline  *instructions.SourceContent
	file    *source.Download
}

// Close ends the use of the items and removes what was downloaded for them.
func (items *Items) Close() {
	for _, c := range items.closers {
		c()
	}
}

func (items *Items) onClose(f func()) { items.closers = append(items.closers, f) }

// Len is how many things were found; a pattern may match nothing.
func (items *Items) Len() int { return len(items.list) }

// Size is how many bytes the found files have.
func (items *Items) Size() (size int64) {
	for i := range items.list {
		if w := items.list[i].walker; w != nil {
			for k := range w.Entries {
				if st := &w.Entries[k].Stat; st.Mode&unix.S_IFMT == unix.S_IFREG {
					size += st.Size
				}
			}
		}
	}
	return size
}

// Check refuses what the flags cannot mean together.
func (s *Sources) Check() error {
	for _, src := range s.Paths {
		switch {
		case !s.Add && isRemote(src):
			return errs.WithHint(errs.New(errs.Invalid, "source can't be a URL for COPY: %s", redact.URL(src)), "use ADD")
		case s.Checksum != "" && len(s.Paths) > 1:
			return errs.New(errs.Invalid, "checksum can't be specified for multiple sources")
		case s.Checksum != "" && !isRemote(src):
			return errs.New(errs.Invalid, "checksum requires HTTP(S) or Git sources")
		}
	}
	return nil
}

// Names are the sources as history shows them: whoever gets the image sees
// it, so no account is in there.
func (s *Sources) Names() []string {
	var names []string
	for _, src := range s.Paths {
		names = append(names, redact.URL(src))
	}
	for _, c := range s.Inline {
		names = append(names, "<<"+c.Path)
	}
	return names
}

// Find finds everything that sources name below a tree. Downloads go to tmp, a
// private directory. The caller closes the items.
func Find(ctx context.Context, t *source.Tree, s *Sources, tmp string) (*Items, error) {
	items := &Items{name: s.Name, parents: s.Parents, mount: s.Mount, several: len(s.Paths)+len(s.Inline) > 1}
	if err := items.find(ctx, t, s, tmp); err != nil {
		items.Close()
		return nil, err
	}
	return items, nil
}

func (items *Items) find(ctx context.Context, t *source.Tree, s *Sources, tmp string) (err error) {
	f := files.Filter{Ignore: t.Ignore, Hide: t.Hide}
	if len(s.Exclude) > 0 {
		if f.Exclude, err = patternmatcher.New(s.Exclude); err != nil {
			return errs.New(errs.Invalid, "bad --exclude pattern: %v", err)
		}
	}
	r, err := files.OpenRoot(t.Root)
	if err != nil {
		return err
	}
	items.onClose(func() { r.Close() })
	for _, src := range s.Paths {
		var found []item
		if s.Add && isRemote(src) {
			found, err = items.remote(ctx, src, s, tmp)
		} else {
			found, err = localItems(r, f, src, s)
		}
		if err != nil {
			return err
		}
		items.list = append(items.list, found...)
	}
	for i := range s.Inline {
		c := s.Inline[i]
		items.list = append(items.list, item{inline: &c, base: path.Base(c.Path)})
	}
	return nil
}

func isRemote(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://") || source.IsGit(src)
}

// localItems finds what one source path names below a root.
func localItems(r *files.Root, f files.Filter, src string, s *Sources) ([]item, error) {
	pivot, pattern := "", src
	if s.Parents {
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
		if s.Parents {
			kept = belowPivot(p, pivot)
		}
		it, err := localItem(r, f, p, kept, s, hasWildcard(src))
		if err != nil {
			return nil, err
		}
		if it == nil {
			continue
		}
		if s.Parents {
			if it.parents, err = keptParents(r, p, kept, it.dir); err != nil {
				return nil, err
			}
		}
		items = append(items, *it)
	}
	if len(items) == 0 && !hasWildcard(src) { // as in BuildKit (AllowEmptyWildcard), a pattern may match nothing
		return nil, s.notFound(src)
	}
	return items, nil
}

// notFound is the error for a source that does not exist.
func (s *Sources) notFound(src string) error {
	shown := redact.URL(src)
	if s.Where == "" {
		return errs.WithHint(errs.New(errs.NotFound, "%s failed: file not found in build context or excluded by .dockerignore: stat %s: file does not exist", s.Name, shown),
			"paths are relative to the build context, and nothing outside it can be copied")
	}
	return errs.WithHint(errs.New(errs.NotFound, "%s failed: file not found in %s: stat %s: file does not exist", s.Name, s.Where, shown),
		"COPY --from takes paths relative to /, not to a WORKDIR")
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

// localItem finds one path, which a pattern found or the user wrote. It returns nil for
// what the ignore file leaves out.
func localItem(r *files.Root, f files.Filter, p, kept string, s *Sources, found bool) (*item, error) {
	w := &files.Walker{Root: r, Filter: f}
	top := p
	st, err := r.Lstat(p)
	if err != nil {
		return nil, err
	}
	if f.Hide.Is(&st) && found {
		return nil, nil
	}
	// A link given by name is followed, inside the root.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		real, err := r.ResolveLink(p)
		if err != nil {
			return nil, errs.New(errs.NotFound, "%s failed: %q is a link that leads nowhere inside the source", s.Name, p)
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
		if len(s.Exclude) > 0 {
			return it, nil // nothing of it is wanted
		}
		return nil, nil
	}
	if s.Add && !it.dir && (s.Unpack == nil || *s.Unpack) {
		it.archive = r.IsArchive(top)
	}
	return it, nil
}
