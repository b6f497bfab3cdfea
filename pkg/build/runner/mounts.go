// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/copying"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/spec"
)

// mountSet turns the --mount options of a RUN into mounts and undoes what it
// made for them.
type mountSet struct {
	host    *Host
	workdir string // what relative targets are below
	mounts  []spec.Mount
	env     []string
	closers []func() error
	hide    []func() // removes the names of what the mounts hold on to
}

func (ms *mountSet) close() {
	for _, c := range slices.Backward(ms.closers) {
		_ = c() // private copies below the build's own directory, removed with it
	}
}

// mounted removes the files of secrets once they are mounted: the mounts keep them, and
// a build that is killed from now on leaves none.
func (ms *mountSet) mounted() {
	for _, remove := range ms.hide {
		remove()
	}
}

// secretDir makes a private directory for a secret or the socket of an agent.
func (ms *mountSet) secretDir(ctx context.Context) (string, error) {
	dir, remove, err := cache.WorkDir(ctx, ms.host.SecretDir)
	if err != nil {
		return "", err
	}
	ms.hide = append(ms.hide, remove)
	ms.closers = append(ms.closers, func() error { remove(); return nil })
	return dir, nil
}

// Mount is one --mount of a RUN.
type Mount struct {
	*instructions.Mount
	Tree *source.Lazy // what From names; nil: nothing of it is needed
	// Base names what a cache begins with: the layers or image of Tree; of the host's files
	// only what the Dockerfile calls them. It is nil where Tree is.
	Base func(context.Context) (string, error)
	// Layers: Tree is mounted layers, which nobody writes to; else it is files of the host.
	Layers bool
	Where  string // what messages call Tree; empty: the build context
}

// Sources are the files that the mount takes of its tree.
func (m Mount) Sources() *copying.Sources {
	src := m.Source
	if src == "" {
		src = "/"
	}
	return &copying.Sources{Name: "RUN --mount", Mount: true, Paths: []string{src}, Where: m.Where}
}

// target is where a mount lies in the container; empty where none is given.
func (ms *mountSet) target(m Mount) string {
	if m.Target != "" && !path.IsAbs(m.Target) {
		return path.Join("/", ms.workdir, m.Target)
	}
	return m.Target
}

// prepare makes the mounts of a step.
func (ms *mountSet) prepare(ctx context.Context, mounts []Mount, script string) error {
	if err := ms.lockCaches(ctx, mounts); err != nil {
		return err
	}
	for _, m := range mounts {
		if err := ms.add(ctx, m); err != nil {
			return err
		}
	}
	if script != "" {
		return ms.script(script)
	}
	return nil
}

func (ms *mountSet) add(ctx context.Context, m Mount) error {
	target := ms.target(m)
	switch m.Type {
	case instructions.MountTypeTmpfs:
		ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountTmpfs, Target: target, TmpfsSize: m.SizeLimit})
		return nil
	case instructions.MountTypeSecret:
		return ms.secret(ctx, m, target)
	case instructions.MountTypeSSH:
		return ms.ssh(ctx, m, target)
	case instructions.MountTypeCache:
		return ms.cacheDir(ctx, m, target)
	}
	return ms.bind(ctx, m, target)
}

// bind mounts files of a stage, an image or the context. A read-only mount of a
// stage is the mounted layers themselves; all else is a copy, since what the
// step writes there is thrown away.
func (ms *mountSet) bind(ctx context.Context, m Mount, target string) error {
	if m.Layers && m.ReadOnly {
		t, err := m.Tree.Get(ctx)
		if err != nil {
			return err
		}
		src, err := resolveBelow(t.Root, m.Source)
		if err != nil {
			return errs.New(errs.NotFound, "RUN --mount: source %q not found in %s", m.Source, m.Where)
		}
		ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: src, Target: target, ReadOnly: true})
		return nil
	}
	src, err := ms.copyOf(ctx, m)
	if err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: src, Target: target, ReadOnly: m.ReadOnly})
	return nil
}

// copyOf copies the named files into the build's directory: the ignore file
// applies, and a link in the context cannot lead the mount out of it.
func (ms *mountSet) copyOf(ctx context.Context, m Mount) (string, error) {
	dir, err := os.MkdirTemp(ms.host.Tmp, "bind-")
	if err != nil {
		return "", err
	}
	ms.closers = append(ms.closers, func() error { return rmtree.Remove(dir) })
	return filepath.Join(dir, "data"), ms.copyItems(ctx, m, dir, "/data")
}

// copyItems copies the one thing that a mount names.
func (ms *mountSet) copyItems(ctx context.Context, m Mount, dir, dest string) error {
	t, err := m.Tree.Get(ctx)
	if err != nil {
		return err
	}
	items, err := copying.Find(ctx, t, m.Sources(), ms.host.Tmp)
	if err != nil {
		return err
	}
	defer items.Close()
	if n := items.Len(); n != 1 {
		return errs.WithHint(errs.New(errs.Invalid, "RUN --mount: source %q names %d files", m.Source, n), "name one file or directory")
	}
	return items.Write(dir, copying.Target{Dest: dest})
}

// script puts the text of a heredoc with its own interpreter at ScriptPath.
func (ms *mountSet) script(text string) error {
	f, err := os.CreateTemp(ms.host.Tmp, "script-")
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, func() error { return os.Remove(f.Name()) })
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: f.Name(), Target: ScriptPath, ReadOnly: true})
	return nil
}

func resolveBelow(rootDir, name string) (string, error) {
	r, err := files.OpenRoot(rootDir)
	if err != nil {
		return "", err
	}
	defer r.Close()
	real, err := r.ResolveLink(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(rootDir, real), nil
}

// SecretID is the name of the secret that a mount at target shows.
func SecretID(m *instructions.Mount, target string) string {
	switch {
	case m.Source != "":
		return m.Source
	case m.CacheID != "":
		return m.CacheID
	}
	return path.Base(target)
}

// AgentID is the name of the agent whose socket a mount shows.
func AgentID(m *instructions.Mount) string {
	if m.CacheID == "" {
		return "default"
	}
	return m.CacheID
}

func (ms *mountSet) secret(ctx context.Context, m Mount, target string) error {
	id := SecretID(m.Mount, target)
	sec, ok := ms.host.Secrets[id]
	if !ok {
		if m.Required {
			return errs.WithHint(errs.New(errs.NotFound, "secret %s: not found", id), "give it with --secret id=%s,src=FILE", id)
		}
		return nil
	}
	content, err := ms.host.content(sec)
	if err != nil {
		return err
	}
	if m.Env != nil {
		name := *m.Env
		if name == "" {
			name = id
		}
		ms.env = append(ms.env, name+"="+string(content))
		if m.Target == "" {
			return nil
		}
	}
	if target == "" {
		target = "/run/secrets/" + path.Base(id)
	}
	dir, err := ms.secretDir(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "secret")
	mode := os.FileMode(0o400)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(file, mode), os.Chown(file, intOr(m.UID), intOr(m.GID))); err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: file, Target: target, ReadOnly: true})
	return nil
}

func intOr(v *uint64) int {
	if v == nil {
		return 0
	}
	return int(*v)
}

func (h *Host) content(s Secret) ([]byte, error) {
	if s.Text != nil {
		return s.Text, nil
	}
	if s.Env != "" {
		v, ok := h.Getenv(s.Env)
		if !ok {
			return nil, errs.New(errs.NotFound, "secret: environment variable %q is not set", s.Env)
		}
		return []byte(v), nil
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return nil, errs.New(errs.NotFound, "secret: %v", err)
	}
	return text, nil
}

func (ms *mountSet) ssh(ctx context.Context, m Mount, target string) error {
	id := AgentID(m.Mount)
	sock, ok := ms.host.SSH[id]
	if !ok {
		if m.Required {
			return errs.WithHint(errs.New(errs.NotFound, "ssh agent %s: not found", id), "forward it with --ssh %s", id)
		}
		return nil
	}
	if target == "" {
		target = fmt.Sprintf("/run/buildkit/ssh_agent.%d", len(ms.mounts))
	}
	dir, err := ms.secretDir(ctx)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	own, stop, err := agentSocket(dir, sock, mode, files.Owner{UID: intOr(m.UID), GID: intOr(m.GID)})
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, stop)
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: own, Target: target})
	ms.env = append(ms.env, "SSH_AUTH_SOCK="+target)
	return nil
}

// fillCache makes the directory of a cache mount, the first time with the
// content of "from". It appears whole or not at all.
func (ms *mountSet) fillCache(ctx context.Context, m Mount, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	unlock, err := cache.LockUntil(ctx, dir+".make")
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.Mkdir(half, 0o755); err != nil {
		return err
	}
	if m.From != "" {
		if err := ms.copyItems(ctx, m, half, "/"); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chmod(half, cacheMode(m)), os.Chown(half, intOr(m.UID), intOr(m.GID))); err != nil {
		return err
	}
	return os.Rename(half, dir)
}

// cacheMode is the mode of a cache's directory when it is made.
func cacheMode(m Mount) os.FileMode {
	if m.Mode != nil {
		return os.FileMode(*m.Mode) & os.ModePerm
	}
	return 0o755
}

// cachePath is the directory of a cache; of a private one, what their names begin
// with. Caches of one id that differ in their owner, mode or first content are several: a
// step must find the directory that it asks for, in any order of the steps.
func (ms *mountSet) cachePath(ctx context.Context, m Mount) (string, error) {
	id := m.CacheID
	if id == "" {
		id = ms.target(m)
	}
	key := cache.NewKey("mount", id)
	if ns := ms.host.CacheNamespace; ns != "" {
		key.Add("namespace", ns)
	}
	if uid, gid, mode := intOr(m.UID), intOr(m.GID), cacheMode(m); uid != 0 || gid != 0 || mode != 0o755 {
		key.Add("owner", strconv.Itoa(uid), strconv.Itoa(gid), strconv.FormatUint(uint64(mode), 8))
	}
	if m.Base != nil {
		base, err := m.Base(ctx)
		if err != nil {
			return "", err
		}
		key.Add("from", base, path.Clean("/"+m.Source))
	}
	return filepath.Join(ms.host.Engine.CacheDir(), "mounts", key.Sum()[:32]), nil
}

// lockCaches takes the locks of the caches that one step at a time uses. Each step
// takes them in the same order, so that no two wait for one another, and once,
// however often it mounts one.
func (ms *mountSet) lockCaches(ctx context.Context, mounts []Mount) error {
	var dirs []string
	for _, m := range mounts {
		if m.Type == instructions.MountTypeCache && m.CacheSharing == instructions.MountSharingLocked {
			dir, err := ms.cachePath(ctx, m)
			if err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		unlock, err := cache.LockUntil(ctx, dir)
		if err != nil {
			return err
		}
		ms.closers = append(ms.closers, unlock)
	}
	return nil
}

// cacheDir mounts a directory that outlives the build.
func (ms *mountSet) cacheDir(ctx context.Context, m Mount, target string) error {
	if m.Source != "" && m.From == "" {
		return errs.WithHint(errs.New(errs.Invalid, "RUN --mount=type=cache: source %q is a path of what from names", m.Source), "add from=STAGE, or omit source")
	}
	dir, err := ms.cachePath(ctx, m)
	if err != nil {
		return err
	}
	if m.CacheSharing == instructions.MountSharingPrivate {
		private, unlock, err := cache.PrivateDir(dir)
		if err != nil {
			return err
		}
		dir = private
		ms.closers = append(ms.closers, unlock)
	}
	if err := ms.fillCache(ctx, m, dir); err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: dir, Target: target, ReadOnly: m.ReadOnly})
	return nil
}
