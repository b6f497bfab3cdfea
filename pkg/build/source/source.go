// SPDX-License-Identifier: Apache-2.0

// Package source gets the files of a build: a directory, an archive, a download
// or a git repository becomes a directory, with the Dockerfile and the ignore
// file that go with it.
package source

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// Source is where files come from: exactly one field is set, or none for an
// empty context.
type Source struct {
	Dir string    // a directory of the host
	Tar io.Reader // a tar archive, compressed or not
	URL string    // http(s): a tar archive or a Dockerfile
	Git string    // a git repository, with #ref:dir

	KeepGit bool // with Git: .git is among the files
}

// maxInline bounds a Dockerfile that comes by itself: more is a mistake.
const maxInline = 16 << 20

// Parse reads the context argument of "build": "-" is standard input,
// which may be a Dockerfile (returned as inline) or a tar archive.
func Parse(arg string, stdin io.Reader, inlineDockerfile bool) (src Source, inline []byte, err error) {
	switch {
	case arg == "-" && inlineDockerfile:
		return src, nil, errs.New(errs.Invalid, "invalid argument: can't use stdin for both build context and dockerfile")
	case arg == "-":
		return stdinSource(stdin)
	case IsGit(arg):
		return Source{Git: arg}, nil, nil
	case strings.HasPrefix(arg, "http://"), strings.HasPrefix(arg, "https://"):
		return Source{URL: arg}, nil, nil
	}
	fi, err := os.Stat(arg)
	if err != nil {
		return src, nil, errs.New(errs.NotFound, "unable to prepare context: path %q not found", redact.URL(arg))
	}
	if !fi.IsDir() {
		return src, nil, errs.WithHint(errs.New(errs.Invalid, "unable to prepare context: %q is not a directory", arg),
			`give the directory, and the Dockerfile with -f %s`, arg)
	}
	abs, err := filepath.Abs(arg)
	return Source{Dir: abs}, nil, err
}

// IsGit says whether s names a git repository.
func IsGit(s string) bool {
	if strings.HasPrefix(s, "git://") || strings.HasPrefix(s, "git@") || strings.HasPrefix(s, "ssh://") {
		return true
	}
	if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		return strings.HasPrefix(s, "github.com/")
	}
	repo, _, _ := strings.Cut(s, "#")
	repo, _, _ = strings.Cut(repo, "?")
	return strings.HasSuffix(repo, ".git")
}

// stdinSource looks at the first bytes: a tar archive has its magic at 257, a
// compressed one at 0; all else is a Dockerfile.
func stdinSource(stdin io.Reader) (Source, []byte, error) {
	br := bufio.NewReaderSize(stdin, 64<<10)
	head, err := br.Peek(512)
	if err != nil && err != io.EOF {
		return Source{}, nil, err
	}
	if files.LooksLikeTar(head) {
		return Source{Tar: br}, nil, nil
	}
	text, err := readBounded(br, maxInline, "the Dockerfile on standard input")
	return Source{}, text, err
}

func readBounded(r io.Reader, limit int64, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, errs.New(errs.Invalid, "%s is larger than %d bytes", what, limit)
	}
	return text, nil
}

// Tree is an opened source: a directory and what of it does not count.
type Tree struct {
	Root   string
	Ignore *patternmatcher.PatternMatcher // nil: nothing is ignored
	Hide   *files.Dir                     // is no part of the tree; nil: nothing
	web    *Web                           // how Dockerfiles elsewhere are fetched
	inline []byte                         // the source was a single Dockerfile
	// foreign says that somebody else made the files: no link leads out of them.
	foreign bool
	Close   func() error
}

// Open makes src available as a directory. tmp is a private directory for
// what has to be unpacked; the caller closes the tree.
func (src Source) Open(ctx context.Context, web *Web, tmp string) (*Tree, error) {
	t := &Tree{web: web, Close: func() error { return nil }}
	if src.Dir != "" {
		t.Root = src.Dir
		return t, nil
	}
	dir, err := os.MkdirTemp(tmp, "context-")
	if err != nil {
		return nil, err
	}
	t.Root, t.foreign = dir, true
	t.Close = func() error { return rmtree.Remove(dir) }
	switch {
	case src.Tar != nil:
		err = unpackInto(dir, src.Tar)
	case src.URL != "":
		t.inline, err = web.fetchContext(ctx, src.URL, dir)
	case src.Git != "":
		t.Root, err = Clone(ctx, src.Git, dir, CloneOptions{KeepGit: src.KeepGit, Web: web})
	}
	if err != nil {
		return nil, errsJoinClose(err, t.Close)
	}
	return t, nil
}

func errsJoinClose(err error, closer func() error) error {
	_ = closer() // the first failure is the one to tell
	return err
}

func unpackInto(dir string, r io.Reader) error {
	root, err := files.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// Of a build the user is root here, of a check not.
	return files.Extract(root, "/", r, files.ExtractOptions{Owner: &files.Owner{UID: os.Getuid(), GID: os.Getgid()}})
}

func (web *Web) fetchContext(ctx context.Context, url, dir string) (inline []byte, err error) {
	resp, err := web.get(ctx, url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	src, inline, err := stdinSource(resp.Body)
	if err != nil || inline != nil {
		return inline, err
	}
	return nil, unpackInto(dir, src.Tar)
}

// Dockerfile says where the Dockerfile of a context is.
type Dockerfile struct {
	Paths      []string // inside the context, absolute, or URLs, read as one; none: Dockerfile, dockerfile, Containerfile
	Inline     []byte   // or its own bytes
	IgnoreFile string   // instead of .dockerignore
}

// Dockerfile finds the Dockerfile's text and the name to show in messages, and
// loads the ignore file that goes with it.
func (t *Tree) Dockerfile(ctx context.Context, f Dockerfile) (text []byte, name string, err error) {
	switch {
	case f.Inline != nil:
		text, name = f.Inline, "Dockerfile"
	case t.inline != nil:
		text, name = t.inline, "Dockerfile"
	default:
		if text, name, err = t.readDockerfiles(ctx, f.Paths); err != nil {
			return nil, "", err
		}
	}
	if f.IgnoreFile != "" {
		own, err := os.Open(f.IgnoreFile)
		if err != nil {
			return nil, "", errs.New(errs.NotFound, "cannot read the ignore file: %v", err)
		}
		return text, t.shown(name), t.readIgnore(own)
	}
	return text, t.shown(name), t.LoadIgnore(name)
}

// shown is what messages call a Dockerfile: a file of the context without the way to it.
func (t *Tree) shown(name string) string {
	if rel, err := filepath.Rel(t.Root, name); err == nil && filepath.IsAbs(name) && filepath.IsLocal(rel) {
		return rel
	}
	return name
}

// readDockerfiles reads several Dockerfiles as one, as podman does. The ignore file is that of the
// first.
func (t *Tree) readDockerfiles(ctx context.Context, names []string) (text []byte, name string, err error) {
	if len(names) == 0 {
		return t.readDockerfile("")
	}
	for i, n := range names {
		read := t.readDockerfile
		if IsURL(n) {
			read = func(address string) ([]byte, string, error) { return t.web.readDockerfile(ctx, address) }
		}
		part, shown, err := read(n)
		if err != nil {
			return nil, "", err
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		text = append(text, part...)
		if i == 0 {
			name = shown
		}
	}
	return text, name, nil
}

// IsURL reports whether a name is the address of a file on a server.
func IsURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// readDockerfile downloads a Dockerfile. It has no ignore file of its own, like one from standard input.
func (web *Web) readDockerfile(ctx context.Context, address string) ([]byte, string, error) {
	resp, err := web.get(ctx, address)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := readBounded(resp.Body, maxInline, redact.URL(address))
	return text, "Dockerfile", err
}

func (t *Tree) readDockerfile(name string) ([]byte, string, error) {
	candidates := []string{name}
	if name == "" {
		candidates = []string{"Dockerfile", "dockerfile", "Containerfile"}
	}
	for _, c := range candidates {
		f, err := t.open(c)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", errs.New(errs.Invalid, "cannot read Dockerfile: %v", err)
		}
		defer f.Close()
		text, err := readBounded(f, maxInline, c)
		return text, c, err
	}
	if name == "" {
		return nil, "", errs.WithHint(errs.New(errs.NotFound, "unable to prepare context: unable to evaluate symlinks in Dockerfile path: no Dockerfile or Containerfile in %s", t.Root),
			"name it with -f FILE")
	}
	return nil, "", errs.New(errs.NotFound, "unable to prepare context: Dockerfile %q does not exist", name)
}

// open opens a file of the context, or one that the user named by an absolute
// path. In files that somebody else made a link could lead to the user's own, and
// a FIFO would have us wait for ever.
func (t *Tree) open(name string) (*os.File, error) {
	if filepath.IsAbs(name) {
		return os.Open(name)
	}
	if !t.foreign {
		return os.Open(filepath.Join(t.Root, name))
	}
	root, err := files.OpenRoot(t.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fd, err := root.Open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errs.New(errs.Invalid, "%s is not a regular file", name))
	}
	return f, nil
}

// isLink reports whether name is a symbolic link.
func (t *Tree) isLink(name string) bool {
	if filepath.IsAbs(name) || !t.foreign {
		if !filepath.IsAbs(name) {
			name = filepath.Join(t.Root, name)
		}
		fi, err := os.Lstat(name)
		return err == nil && fi.Mode()&fs.ModeSymlink != 0
	}
	root, err := files.OpenRoot(t.Root)
	if err != nil {
		return false
	}
	defer root.Close()
	st, err := root.Lstat(name)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// LoadIgnore reads the first of NAME.containerignore and NAME.dockerignore
// beside the Dockerfile, .containerignore and .dockerignore at the top of the
// context.
func (t *Tree) LoadIgnore(dockerfile string) error {
	for _, name := range []string{dockerfile + ".containerignore", dockerfile + ".dockerignore", ".containerignore", ".dockerignore"} {
		f, err := t.open(name)
		if errors.Is(err, fs.ErrNotExist) {
			if t.isLink(name) {
				err := errs.New(errs.Invalid, "cannot read the ignore file: %s is a symbolic link that leads nowhere", name)
				return errs.WithHint(err, "restore the file, or remove the link to send the whole context")
			}
			continue
		}
		if err != nil {
			return errs.New(errs.Invalid, "cannot read the ignore file: %w", err)
		}
		return t.readIgnore(f)
	}
	return nil
}

// readIgnore reads an ignore file and closes it.
func (t *Tree) readIgnore(f *os.File) error {
	path := f.Name()
	patterns, err := ignorefile.ReadAll(io.LimitReader(f, maxInline))
	f.Close()
	if err != nil {
		return errs.New(errs.Invalid, "cannot read %s: %v", filepath.Base(path), err)
	}
	if len(patterns) == 0 {
		return nil
	}
	if t.Ignore, err = patternmatcher.New(patterns); err != nil {
		return errs.New(errs.Invalid, "bad pattern in %s: %v", filepath.Base(path), err)
	}
	return nil
}
