// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func (o *buildFlags) fillContext(ctx context.Context, a *app, args []string) error {
	where, err := o.contextOf(a, args)
	if err != nil {
		return err
	}
	if err := o.readSecrets(); err != nil {
		return err
	}
	stdinFile := slices.Contains(o.files, "-")
	if stdinFile && len(o.files) > 1 {
		others := slices.DeleteFunc(slices.Clone(o.files), func(f string) bool { return f == "-" })
		return errs.WithHint(errs.New(errs.Invalid, "-f - stands alone: standard input is the whole Dockerfile"),
			"write cat %s - | proa build -f - ...", strings.Join(others, " "))
	}
	if stdinFile {
		text, err := io.ReadAll(io.LimitReader(a.stdin(ctx), 16<<20))
		if err != nil {
			return err
		}
		o.o.Inline = text
	}
	if err := absoluteContext(a, &where); err != nil {
		return err
	}
	src, inline, err := source.Parse(where, a.stdin(ctx), stdinFile)
	if err != nil {
		return err
	}
	o.o.Context = src
	if inline != nil {
		o.o.Inline = inline
	}
	if stdinFile {
		return nil
	}
	for _, file := range o.files {
		if src.Dir != "" && !source.IsURL(file) { // Docker looks for -f from the current directory, then in the context
			p, err := a.abs(file)
			if err != nil {
				return err
			}
			if _, err := os.Stat(p); err == nil {
				file = p
			}
		}
		o.o.Dockerfiles = append(o.o.Dockerfiles, file)
	}
	return nil
}

// contextOf is the context that the user means. Without one it is the directory of the first
// Dockerfile that lies in one, as with podman: Docker asks for a context.
func (o *buildFlags) contextOf(a *app, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	for _, file := range o.files {
		if file == "-" || source.IsURL(file) {
			continue
		}
		path, err := a.abs(file)
		if err != nil {
			return "", err
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			return filepath.Dir(path), nil
		}
	}
	return ".", nil
}

// readsOnce reports whether an input of the flags is a pipe, such as the shell's <(...).
func (o *buildFlags) readsOnce(a *app) bool {
	return slices.ContainsFunc(o.argFiles, func(file string) bool {
		path, err := a.abs(file)
		return err == nil && isPipe(path)
	})
}

// isPipe says whether a file can be read only once.
func isPipe(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && !fi.Mode().IsRegular()
}

// maxSecret is how much of a pipe or device is taken for a secret, as in BuildKit: a
// file has an end, /dev/zero has none.
const maxSecret = 500 << 10

// readSecrets reads those secrets that several steps could not read.
func (o *buildFlags) readSecrets() error {
	for id, s := range o.o.Secrets {
		if s.File == "" || !isPipe(s.File) {
			continue
		}
		f, err := os.Open(s.File)
		if err != nil {
			return errs.New(errs.NotFound, "secret %q: %v", id, err)
		}
		text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		f.Close()
		if err != nil {
			return errs.New(errs.NotFound, "secret %q: %v", id, err)
		}
		if len(text) > maxSecret {
			return errs.New(errs.Invalid, "secret %q is too large: %s gives more than 500 KiB", id, s.File)
		}
		s.Text = append([]byte{}, text...)
		o.o.Secrets[id] = s
	}
	return nil
}

// absoluteContext is absolute for a context, where that is a path.
func absoluteContext(a *app, where *string) error {
	if *where == "-" || strings.Contains(*where, "://") || strings.HasPrefix(*where, "git@") ||
		strings.HasPrefix(*where, "github.com/") {
		return nil
	}
	return a.absolute(where)
}

func (o *buildFlags) fillArgs(a *app) error {
	o.o.Args = map[string]*string{}
	for _, file := range o.argFiles {
		path, err := a.abs(file)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return errs.New(errs.NotFound, "cannot read %q: %v", file, err)
		}
		kvs, err := spec.ParseEnvFile(file, text, a.std.Lookup)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			k, v, _ := strings.Cut(kv, "=")
			o.o.Args[k] = &v
		}
	}
	for _, kv := range o.args {
		k, v, ok := strings.Cut(kv, "=")
		if k == "" {
			return errs.New(errs.Invalid, "invalid build argument %q: it has no name", kv)
		}
		if o.o.Args[k] = nil; ok {
			o.o.Args[k] = &v
		}
	}
	return nil
}

func (o *buildFlags) fillMaps(a *app) (err error) {
	if o.o.Labels, err = spec.ParseLabels(o.labels); err != nil {
		return err
	}
	for _, text := range o.annots {
		list, err := parseAnnotation(text)
		if err != nil {
			return err
		}
		o.o.Annotations = append(o.o.Annotations, list...)
	}
	if o.o.Contexts, err = spec.ParseKeyValues("build-context", o.contexts); err != nil {
		return err
	}
	for _, where := range o.o.Contexts { // messages quote them as they were given
		if err := absoluteContext(a, &where); err != nil {
			return err
		}
	}
	for _, f := range o.filters {
		o.o.NoCacheFilter = append(o.o.NoCacheFilter, strings.Split(f, ",")...)
	}
	return nil
}

// fillSecrets reads --secret id=ID[,src=FILE|,env=VAR] and --ssh ID[=SOCKET].
func (o *buildFlags) fillSecrets(a *app) error {
	o.o.Secrets, o.o.SSH = map[string]runner.Secret{}, map[string]string{}
	for _, s := range o.secrets {
		id, sec, err := parseSecret(a, s)
		if err != nil {
			return err
		}
		o.o.Secrets[id] = sec
	}
	for _, s := range o.ssh {
		id, sock, ok := strings.Cut(s, "=")
		if !ok {
			if sock, ok = a.std.Lookup("SSH_AUTH_SOCK"); !ok {
				return errs.WithHint(errs.New(errs.Invalid, "invalid empty ssh agent socket: SSH_AUTH_SOCK is not set"), "start an agent with: eval $(ssh-agent)")
			}
		}
		if err := a.absolute(&sock); err != nil {
			return err
		}
		if fi, err := os.Stat(sock); err != nil {
			return errs.New(errs.NotFound, "ssh %q: %v", id, err)
		} else if fi.Mode()&os.ModeSocket == 0 {
			return errs.WithHint(errs.New(errs.Unsupported, "ssh %q: %s is not the socket of an agent", id, sock),
				`eval $(ssh-agent); ssh-add %s; then give --ssh %s`, sock, id)
		}
		o.o.SSH[id] = sock
	}
	return nil
}

// parseAnnotation reads [KIND[[PLATFORM]],...:]KEY=VALUE, as buildx does.
func parseAnnotation(text string) ([]build.Annotation, error) {
	all, err := spec.ParseKeyValues("annotation", []string{text})
	if err != nil {
		return nil, err
	}
	var out []build.Annotation
	for key, value := range all {
		kinds, rest, given := strings.Cut(key, ":")
		if !given {
			kinds, rest = string(build.OfManifest), key
		}
		if rest == "" {
			return nil, errs.New(errs.Invalid, "invalid annotation %q: it has no name", text)
		}
		for _, kind := range strings.Split(kinds, ",") {
			kind, platform, has := strings.Cut(kind, "[")
			if has {
				p, closed := strings.CutSuffix(platform, "]")
				if !closed {
					return nil, errs.New(errs.Invalid, "invalid annotation %q: a bracket is not closed", text)
				}
				if platform, err = spec.ParsePlatform(p); err != nil {
					return nil, err
				}
			}
			one := build.Annotation{Kind: build.AnnotationKind(kind), Platform: platform, Key: rest, Value: value}
			switch one.Kind {
			case build.OfManifest, build.OfIndex, build.OfEntry:
				out = append(out, one)
			case "index-descriptor":
				err := errs.New(errs.Unsupported, "invalid annotation %q: nothing that is stored describes a manifest list", text)
				return nil, errs.WithHint(err, "write index:%s=%s", rest, value)
			default:
				err := errs.New(errs.Invalid, "invalid annotation %q: unknown type %q", text, kind)
				return nil, errs.WithHint(err, "types are manifest, manifest-descriptor and index")
			}
		}
	}
	return out, nil
}

func parseSecret(a *app, s string) (id string, sec runner.Secret, err error) {
	kind := ""
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return "", sec, errs.New(errs.Invalid, "invalid secret %q: %v", s, err)
	}
	for _, part := range fields {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "id":
			id = v
		case "src", "source":
			sec.File = v
		case "env":
			sec.Env = v
		case "type":
			if kind = v; v != "file" && v != "env" {
				err := errs.New(errs.Invalid, "invalid secret %q: unknown type %q", s, v)
				return "", sec, errs.WithHint(err, "types are file and env")
			}
		default:
			return "", sec, errs.New(errs.Invalid, "invalid secret %q: unexpected key %q", s, k)
		}
	}
	if id == "" {
		return "", sec, errs.New(errs.Invalid, "invalid secret %q: it needs id=NAME", s)
	}
	if kind == "env" && sec.Env == "" {
		sec.File, sec.Env = "", sec.File
	}
	if sec.File == "" && sec.Env == "" {
		// As in Docker: a variable of that name, else a file.
		if _, ok := a.std.Lookup(id); ok || kind == "env" {
			sec.Env = id
		} else {
			sec.File = id
		}
	}
	if err := a.absolute(&sec.File); err != nil {
		return "", sec, err
	}
	if sec.File != "" {
		if _, err := os.Stat(sec.File); err != nil {
			return "", sec, errs.New(errs.NotFound, "secret %q: %v", id, err)
		}
	}
	return id, sec, nil
}
