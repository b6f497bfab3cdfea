// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func (o *buildFlags) fillContext(ctx context.Context, a *app, args []string) error {
	where := "."
	if len(args) == 1 {
		where = args[0]
	}
	stdinFile := o.file == "-"
	if stdinFile {
		text, err := io.ReadAll(io.LimitReader(a.stdin(ctx), 16<<20))
		if err != nil {
			return err
		}
		o.o.Inline = text
	}
	if err := a.absoluteContext(&where); err != nil {
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
	if o.file == "" || stdinFile {
		return nil
	}
	o.o.Dockerfile = o.file
	// Docker looks for -f from the current directory, then in the context.
	if src.Dir == "" {
		return nil
	}
	p, err := a.abs(o.file)
	if err != nil {
		return err
	}
	if _, err := os.Stat(p); err == nil {
		o.o.Dockerfile = p
	}
	return nil
}

// absoluteContext is absolute for a context, where that is a path.
func (a *app) absoluteContext(where *string) error {
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
	if o.o.Labels, err = spec.ParseKeyValues("label", o.labels); err != nil {
		return err
	}
	if o.o.Annotations, err = spec.ParseKeyValues("annotation", o.annots); err != nil {
		return err
	}
	if o.o.Contexts, err = spec.ParseKeyValues("build-context", o.contexts); err != nil {
		return err
	}
	for _, where := range o.o.Contexts { // messages quote them as they were given
		if err := a.absoluteContext(&where); err != nil {
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

func parseSecret(a *app, s string) (id string, sec runner.Secret, err error) {
	kind := ""
	for _, part := range strings.Split(s, ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "id":
			id = v
		case "src", "source":
			sec.File = v
		case "env":
			sec.Env = v
		case "type":
			kind = v
		default:
			return "", sec, errs.New(errs.Invalid, "invalid secret %q: unexpected key %q", s, k)
		}
	}
	if id == "" {
		return "", sec, errs.New(errs.Invalid, "invalid secret %q: it needs id=NAME", s)
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
